"""`samovar plugins`: what was found, what it brings, and why what is broken is broken; `samovar plugins new`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from samovar.cli.options import json_option
from samovar.cli.table import aligned
from samovar.plugins import CacheTierSpec, MaskSinkSpec, PromptSourceSpec, SegmenterSpec, Spec, load_plugins

if TYPE_CHECKING:
    from samovar.plugins import PluginInfo, PluginManager

__all__ = ["plugins"]


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def plugins(context: click.Context, as_json: bool) -> None:
    """List the plugins, what they bring, and why what is broken is broken; or start a new one."""
    if context.invoked_subcommand is not None:
        return
    manager = load_plugins()
    found = manager.list_plugins()
    brought = _brought(manager)
    # A plugin whose name another has taken is listed too, but brings nothing.
    brings = [brought.get(info.name, {}) if info.hooks else {} for info in found]
    if as_json:
        for info, specs in zip(found, brings):
            names = {noun: [spec.name for spec in some] for noun, some in specs.items()}
            click.echo(json.dumps({**asdict(info), "brings": names}, ensure_ascii=False))
        return
    heads = [(info.name, _origin(info), info.status) for info in found]
    for info, specs, head in zip(found, brings, aligned(heads)):
        click.echo(head)
        for detail in _details(info, specs):
            click.echo(f"    {detail}")


@plugins.command()
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["segmenter", "source", "sink"]),
    default="segmenter",
    show_default=True,
    help="What the plugin brings.",
)
def new(name: str, kind: str) -> None:
    """Start a plugin: a package in a new folder NAME, with code that works and tests that pass.

    NAME is the package's, such as samovar-threshold; what it brings is called the same without "samovar-".
    """
    from pathlib import Path

    from samovar.scaffold import scaffold

    folder = Path(name)
    for path in scaffold(name, kind, folder):
        click.echo(path, err=True)
    click.echo(f'next: cd {folder} && pip install -e ".[test]" && python -m pytest', err=True)


def _brought(manager: PluginManager) -> dict[str, dict[str, list[Spec]]]:
    """Plugin → noun → specs, without the kinds of which it brings none."""
    brought: dict[str, dict[str, list[Spec]]] = {}
    for noun, claims in (
        ("models", manager.claims(SegmenterSpec)),
        ("prompt sources", manager.claims(PromptSourceSpec)),
        ("mask sinks", manager.claims(MaskSinkSpec)),
        ("cache tiers", manager.claims(CacheTierSpec)),
    ):
        for claim in claims:
            brought.setdefault(claim.plugin, {}).setdefault(noun, []).append(claim.spec)
    return brought


def _typed(spec: Spec) -> str:
    """What people type to use it: its name, and what goes after the name."""
    if isinstance(spec, MaskSinkSpec):
        return f"{spec.name}=FILE{spec.suffix}" if spec.suffix else f"{spec.name}=FOLDER"
    argument = spec.argument if isinstance(spec, (PromptSourceSpec, CacheTierSpec)) else None
    if argument is None:
        return spec.name
    optional = argument.startswith("[") and argument.endswith("]")
    return f"{spec.name}[={argument[1:-1]}]" if optional else f"{spec.name}={argument}"


def _origin(info: PluginInfo) -> str:
    return f"{info.distribution} {info.version}" if info.distribution else "from code"


def _details(info: PluginInfo, brings: dict[str, list[Spec]]) -> Iterator[str]:
    for noun, specs in brings.items():
        if isinstance(specs[0], SegmenterSpec):  # `samovar models` says what each is
            yield f"{noun}: {', '.join(spec.name for spec in specs)}"
        else:
            yield f"{noun}:"
            yield from (f"    {line}" for line in aligned([(_typed(spec), spec.summary) for spec in specs]))
    others = [hook for hook in info.hooks if not hook.startswith("register_") or hook == "register_commands"]
    if others:
        yield f"hooks: {', '.join(others)}"
    yield from info.problems
