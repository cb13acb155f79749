"""The command line, as a shell sees it."""

from __future__ import annotations

import pytest

from samovar.cli.main import main

__all__ = ["status_of"]


def status_of(*arguments: str) -> object:
    """The exit status of `samovar ARGUMENTS`, run in this process; what it says stays for pytest to capture."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code
