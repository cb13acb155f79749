"""`python -m samovar`: the command line without the script."""

from samovar.cli.main import main

if __name__ == "__main__":
    main()
