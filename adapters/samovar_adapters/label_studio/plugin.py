"""Registers `samovar label-studio`. Imports nothing of the backend."""

from __future__ import annotations

import click

from samovar.plugins import hookimpl

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar label-studio`."""
    from samovar_adapters.label_studio.command import label_studio

    cli.add_command(label_studio)
