"""Registers `samovar serve`. Imports nothing of the server."""

from __future__ import annotations

import click

from samovar.plugins import hookimpl

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """`samovar serve`."""
    from samovar_adapters.serve.command import serve

    cli.add_command(serve)
