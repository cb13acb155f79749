"""Writes cli.md beside this file: the help of every command, as the installed program prints it.

    python docs/reference/make_cli.py

Built-in commands only, so that the page does not depend on the plugins that happen to be installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).with_name("cli.md")
WIDTH = 100

INTRODUCTION = """\
# Command line

Also `python -m samovar`. Made from the program's own help by `docs/reference/make_cli.py`; a test compares the two.

Every command ends with status 0 when all is done, 1 when some inputs failed (each is named and the rest is written),
2 for wrong usage and 130 when interrupted. People's text goes to standard error; with `--json` standard output carries
one JSON object a line.

Names of commands, options, models, formats and sources are completed by the shell after `eval
"$(_SAMOVAR_COMPLETE=bash_source samovar)"`, best in its start-up file; with `zsh_source` or `fish_source` in others.
"""


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """The words of each command below `command`, itself first, with its help."""
    os.environ.pop("COLUMNS", None)
    context = click.Context(command, info_name=" ".join(path), terminal_width=WIDTH, max_content_width=WIDTH)
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from commands(below, (*path, name))


def render() -> str:
    """The text of the page."""
    os.environ["SAMOVAR_BLOCK"] = ",".join(strangers())
    from samovar.cli.main import cli

    parts = [INTRODUCTION]
    for path, text in commands(cli, ("samovar",)):
        parts.append(f"\n## {' '.join(path)}\n\n```text\n{text.rstrip()}\n```\n")
    return "".join(parts)


def strangers() -> list[str]:
    """Names of the installed plugins that do not come with Samovar."""
    from importlib.metadata import entry_points

    return [point.name for point in entry_points(group="samovar") if point.dist and point.dist.name != "samovar"]


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")
