"""Registers `samovar track`. Imports little more than click."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.plugins import hookimpl

if TYPE_CHECKING:
    import click

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar track …`."""
    from samovar_adapters.video.command import track

    cli.add_command(track)
