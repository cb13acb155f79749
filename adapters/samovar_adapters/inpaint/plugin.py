"""Registers the `samovar inpaint` commands. Imports little more than click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.plugins import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar inpaint …`."""
    from samovar_adapters.inpaint.command import inpaint

    cli.add_command(inpaint)
