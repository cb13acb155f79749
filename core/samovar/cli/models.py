"""`samovar models`: what `--model` may be. Imports no model library."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from samovar.cli.options import json_option
from samovar.cli.table import aligned
from samovar.plugins import SegmenterSpec, load_plugins, requirement_of
from samovar.types import KINDS

if TYPE_CHECKING:
    from samovar.plugins import Claim

__all__ = ["models"]


@click.command()
@json_option
def models(as_json: bool) -> None:
    """List the models that plugins bring: what each takes, its licence, and what must be installed for it.

    A model is listed whether or not what it needs is installed; loading it says what is missing.
    """
    manager = load_plugins()
    claims = manager.claims(SegmenterSpec)
    if as_json:
        for claim in claims:
            click.echo(json.dumps(_as_json(claim), ensure_ascii=False))
    elif len(claims):
        rows = [("NAME", "TAKES", "NEEDS", "LICENCE", "SUMMARY"), *(_as_row(claim.spec) for claim in claims)]
        for line in aligned(rows):
            click.echo(line)
    for line in dict.fromkeys(line for lines in claims.conflicts().values() for line in lines):
        click.echo(f"samovar: {line}", err=True)
    broken = manager.broken()
    if broken:
        click.echo(f"samovar: left out what is broken: {', '.join(broken)}; `samovar plugins` says why", err=True)


def _takes(spec: SegmenterSpec) -> list[str]:
    return [kind for kind in KINDS if kind in spec.prompts]


def _as_row(spec: SegmenterSpec) -> tuple[str, ...]:
    summary = f"{spec.summary} (weights must be asked for)" if spec.gated else spec.summary
    return spec.name, ",".join(_takes(spec)), requirement_of(spec) or "–", spec.licence, summary


def _as_json(claim: Claim[SegmenterSpec]) -> dict[str, object]:
    spec = claim.spec
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "plugin": claim.plugin,
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
