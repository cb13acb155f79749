"""Putting plugins' commands on the command line, so that no plugin takes a command away from another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import click

from samovar.errors import PluginError

__all__ = ["CommandGroup"]


class CommandGroup:
    """One command line, and the commands that plugins add to it.

    Each plugin fills an empty group of its own, which is then merged: a plugin that raises half-way adds nothing, a
    name that Samovar uses itself stays Samovar's, and a name that two plugins claim becomes a command that says so.
    """

    def __init__(self, cli: click.Group, taken: Collection[str]) -> None:
        self.cli = cli
        self._taken = frozenset(taken) | frozenset(cli.commands)
        self._owners: dict[str, str] = {}

    def empty(self) -> click.Group:
        """What a plugin is given to fill."""
        return click.Group("samovar")

    def merge(
        self, commands: Mapping[str, click.Command], plugin: str, origins: Mapping[str, str]
    ) -> Iterator[tuple[str, str]]:
        """Add `commands` of `plugin`; `origins` maps plugins to their packages.

        Gives (plugin, line) for every plugin concerned by a name that is not free.
        """
        for name, command in commands.items():
            if name in self._taken:
                yield plugin, f"command {name!r} is one of samovar's own; rename the plugin's"
            elif name in self._owners:
                other = self._owners[name]
                message = (
                    f"command {name!r} is claimed by plugins {other!r} ({origins[other]}) and {plugin!r} "
                    f"({origins[plugin]}); uninstall one of them or set SAMOVAR_BLOCK={other} or SAMOVAR_BLOCK={plugin}"
                )
                self.cli.add_command(_claimed_twice(name, message), name)
                yield from ((other, message), (plugin, message))
            else:
                self._owners[name] = plugin
                self.cli.add_command(command, name)


def _claimed_twice(name: str, message: str) -> click.Command:
    def refuse() -> None:
        raise PluginError(message)

    anything = {"ignore_unknown_options": True, "allow_extra_args": True}
    return click.Command(name, callback=refuse, short_help="Claimed by two plugins.", context_settings=anything)
