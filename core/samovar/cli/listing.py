"""`samovar models`, `plugins` and `doctor`: what there is, and what is missing. Imports no model library."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from samovar import __version__
from samovar.cli.options import json_option
from samovar.plugins import (
    CacheTierSpec,
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    SegmenterSpec,
    Spec,
    TrackerSpec,
    load_plugins,
    requirement_of,
)
from samovar.types import KINDS

if TYPE_CHECKING:
    from samovar.plugins import PluginInfo, PluginManager, Registration

__all__ = ["aligned", "doctor", "models", "plugins"]

MARKS = {"ok": "✓", "lack": "·", "broken": "✗"}


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that plugins bring: what each takes, its licence, and what must be installed for it.

    A model is listed whether or not what it needs is installed; loading it says what is missing.
    """
    manager = load_plugins()
    registered = manager.registrations(SegmenterSpec)
    if as_json:
        for one in registered:
            click.echo(json.dumps(_model_json(one), ensure_ascii=False))
    elif len(registered):
        rows = [("NAME", "TAKES", "NEEDS", "LICENCE", "SUMMARY"), *(_model_row(one.spec) for one in registered)]
        for line in aligned(rows):
            click.echo(line)
    for line in dict.fromkeys(line for _, line in registered.conflicts()):
        click.echo(f"samovar: {line}", err=True)
    broken = manager.broken()
    if broken:
        click.echo(f"samovar: left out what is broken: {', '.join(broken)}; `samovar plugins` says why", err=True)


def _takes(spec: SegmenterSpec) -> list[str]:
    return [kind for kind in KINDS if kind in spec.prompts]


def _model_row(spec: SegmenterSpec) -> tuple[str, ...]:
    summary = f"{spec.summary} (weights must be asked for)" if spec.gated else spec.summary
    return spec.name, ",".join(_takes(spec)), requirement_of(spec) or "–", spec.licence, summary


def _model_json(one: Registration[SegmenterSpec]) -> dict[str, object]:
    spec = one.spec
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "plugin": one.plugin,
        "summary": spec.summary,
        "prompts": _takes(spec),
        "licence": spec.licence,
        "needs": requirement_of(spec),
        "weights": spec.weights,
        "gated": spec.gated,
        "parameters": spec.parameters,
        "embedding_bytes": spec.embedding_bytes,
        "devices": list(spec.devices),
    }


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


def _brought(manager: PluginManager) -> dict[str, dict[str, list[Spec[Any]]]]:
    """Plugin → noun → specs, without the kinds of which it brings none."""
    brought: dict[str, dict[str, list[Spec[Any]]]] = {}
    for noun, registered in (
        ("models", manager.registrations(SegmenterSpec)),
        ("prompt sources", manager.registrations(PromptSourceSpec)),
        ("mask sinks", manager.registrations(MaskSinkSpec)),
        ("cache tiers", manager.registrations(CacheTierSpec)),
        ("trackers", manager.registrations(TrackerSpec)),
        ("inpainters", manager.registrations(InpainterSpec)),
    ):
        for one in registered:
            brought.setdefault(one.plugin, {}).setdefault(noun, []).append(one.spec)
    return brought


def _typed(spec: Spec[Any]) -> str:
    """What people type to use it: its name, and what goes after the name."""
    if isinstance(spec, MaskSinkSpec):
        return f"{spec.name}=FILE{spec.suffix}" if spec.suffix else f"{spec.name}=FOLDER"
    argument = spec.argument if isinstance(spec, (PromptSourceSpec, CacheTierSpec, InpainterSpec)) else None
    if argument is None:
        return spec.name
    optional = argument.startswith("[") and argument.endswith("]")
    return f"{spec.name}[={argument[1:-1]}]" if optional else f"{spec.name}={argument}"


def _origin(info: PluginInfo) -> str:
    return f"{info.distribution} {info.version}" if info.distribution else "from code"


def _details(info: PluginInfo, brings: dict[str, list[Spec[Any]]]) -> Iterator[str]:
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


@click.command()
@json_option
def doctor(as_json: bool) -> int:
    """What is installed, which extras and devices work, and what to do about the rest.

    Exit status 1 when something that the base install needs is broken; a lack that only an extra would fill is none.
    """
    from samovar.diagnosis import examine

    findings = examine()
    if as_json:
        for finding in findings:
            click.echo(json.dumps(finding.as_dict()))
    else:
        click.echo(
            f"samovar {__version__} on Python {platform.python_version()}, {platform.system()} {platform.machine()}"
        )
        area = None
        for finding in findings:
            if finding.area != area:
                click.echo(f"\n{finding.area}")
                area = finding.area
            click.echo(f"  {MARKS[finding.state]} {finding.subject:<24} {finding.detail}")
            if finding.advice:
                click.echo(f"    → {finding.advice}")
    return int(any(finding.state == "broken" for finding in findings))


def aligned(rows: Sequence[Sequence[str]], *, words: int | None = None) -> Iterator[str]:
    """One line a row, every column as wide as its widest cell. Rows have equally many cells.

    Args:
        words: how many columns stand at the left; those after them, numbers, stand at the right. None: all are words.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        left, right = row[:words], row[len(row) if words is None else words :]
        cells = [*map(str.ljust, left, widths), *map(str.rjust, right, widths[len(left) :])]
        yield "  ".join(cells).rstrip()
