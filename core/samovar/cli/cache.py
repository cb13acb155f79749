"""`samovar cache`: warm, inspect, check and empty the embedding cache."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from samovar.cli.listing import aligned
from samovar.cli.options import json_option, model_options, quiet_option
from samovar.errors import InputError

if TYPE_CHECKING:
    from samovar.cache import Cache, TierStats

__all__ = ["cache"]

LISTS = (".txt", ".lst")


@click.group("cache")
def cache() -> None:
    """Warm, inspect, check and empty the embedding cache."""


folder_option = click.option(
    "--cache",
    "folder",
    type=click.Path(),
    default="auto",
    show_default=True,
    metavar="auto|DIR",
    help="Which cache.",
)


@cache.command()
@click.argument("paths", nargs=-1, required=True, metavar="DIR|FILE|LIST.txt|-...", type=click.Path())
@click.option("--batch", type=click.IntRange(1, 1024), default=8, show_default=True, help="Images a model call.")
@click.option("--readers", type=click.IntRange(1, 64), default=2, show_default=True, help="Threads that decode ahead.")
@model_options
@json_option
@quiet_option
def warm(paths: tuple[str, ...], batch: int, readers: int, as_json: bool, quiet: bool, **loading: Any) -> int:
    """Encode images ahead of time: folders, files, globs, a .txt list of them, or - for a list on standard input.

    What is there already is skipped without being decoded, so the same command goes on where it was stopped; two at
    once share the work.

    \b
    samovar cache warm photos/ --model default
    find . -name '*.tif' | samovar cache warm -
    """
    from tqdm import tqdm

    from samovar.cache.warm import warm as warm_all
    from samovar.loading import load
    from samovar.pipeline import worklist

    if loading["cache"] == "off":
        raise InputError("there is no cache to warm with --cache off; name a folder or leave it out")
    work, errors = worklist(list(_expand(paths)))
    runtime = load(loading.pop("model"), **loading)
    tally = {"encoded": 0, "present": 0, "failed": len(errors)}
    for error in errors:
        _failed(str(error), str(error), as_json)
    sources = [item.source for item in work]
    outcomes = warm_all(sources, runtime.cache, runtime.segmenter, model=runtime.name, batch=batch, readers=readers)
    show = not quiet and sys.stderr.isatty()
    with tqdm(outcomes, total=len(sources), unit="image", disable=not show, dynamic_ncols=True) as bar:
        for outcome in bar:
            tally[outcome.status] += 1
            if outcome.status == "failed":
                with bar.external_write_mode(file=sys.stderr):
                    _failed(str(outcome.source), str(outcome.error), as_json)
            elif as_json:
                click.echo(json.dumps({"image": str(outcome.source), "status": outcome.status}))
            bar.set_postfix({name: count for name, count in tally.items() if count}, refresh=False)
    runtime.cache.close()
    if not quiet:
        summary = f"{tally['encoded']} encoded, {tally['present']} there already, {tally['failed']} failed"
        click.echo(summary + _made_room(runtime.cache), err=True)
    return 1 if tally["failed"] else 0


@cache.command()
@folder_option
@click.option("--prometheus", is_flag=True, help="In the text format that Prometheus scrapes.")
@json_option
def stats(folder: str, prometheus: bool, as_json: bool) -> None:
    """Bytes, hits, misses, evictions and seconds saved, per tier and model."""
    opened = _open(folder)
    if prometheus:
        from samovar.cache.stats import prometheus as page

        click.echo(page(opened.stats()), nl=False)
        return
    rows = opened.stats()
    if as_json:
        for row in rows:
            click.echo(json.dumps(_plain(row)))
        return
    click.echo(f"{opened.disk.folder}" if opened.disk is not None else "in memory only", err=True)
    click.echo(_table(rows) if rows else "empty")


@cache.command()
@folder_option
@json_option
@quiet_option
def verify(folder: str, as_json: bool, quiet: bool) -> None:
    """Read every entry, check it, and drop those that are damaged."""
    from tqdm import tqdm

    opened = _open(folder)
    with tqdm(unit="entry", disable=quiet or not sys.stderr.isatty()) as bar:
        check = opened.verify(lambda done: bar.update(done - bar.n))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "entries": check.entries,
                    "bytes": check.nbytes,
                    "damaged": len(check.damaged),
                    "keys": check.damaged,
                    "swept": check.swept,
                }
            )
        )
        return
    for key in check.damaged:
        click.echo(f"dropped damaged entry {key}", err=True)
    if not quiet:
        from samovar.sizes import format_bytes

        size = format_bytes(check.nbytes)
        click.echo(f"{_entries(check.entries)} ({size}) checked, {len(check.damaged)} damaged and dropped", err=True)


@cache.command()
@folder_option
@click.option("--max-bytes", metavar="SIZE", help="Drop the least valuable entries until this much stays: 5GiB.")
@click.option("--older-than", metavar="AGE", help="Drop entries not used for this long: 90s, 12h, 30d, 8w.")
@json_option
def prune(folder: str, max_bytes: str | None, older_than: str | None, as_json: bool) -> None:
    """Make the cache smaller."""
    from samovar.sizes import parse_bytes

    if max_bytes is None and older_than is None:
        raise click.UsageError("prune needs --max-bytes or --older-than")
    limit = None if max_bytes is None else parse_bytes(max_bytes)
    _report_dropped(_open(folder).prune(limit, None if older_than is None else _seconds(older_than)), as_json)


@cache.command()
@folder_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
def clear(folder: str, yes: bool, as_json: bool) -> None:
    """Empty the cache, statistics included."""
    opened = _open(folder)
    if not yes and sys.stdin.isatty():
        place = opened.disk.folder if opened.disk is not None else "the cache"
        click.confirm(f"Drop every embedding in {place}?", abort=True, err=True)
    _report_dropped(opened.clear(), as_json)


def _open(folder: str) -> Cache:
    from samovar.cache import Cache

    if folder == "off":
        raise InputError("no cache is kept with --cache off; name a folder or leave it out")
    return Cache.open(folder)


def _expand(paths: Sequence[str]) -> Iterator[str]:
    """`paths`, with lists of paths, one a line, replaced by what they list."""
    for path in paths:
        if path == "-":
            yield from _listed(sys.stdin.read())
        elif path.lower().endswith(LISTS) and Path(path).is_file():
            yield from _listed(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
        else:
            yield path


def _listed(text: str) -> Iterator[str]:
    """The lines of a list, which an editor may have given a mark at its beginning and other ends of lines."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    return (line for line in lines if line.strip())


def _seconds(text: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", text.lower())
    if match is None:
        raise InputError(f"--older-than is a number with s, m, h, d or w, such as 30d; got {text!r}")
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[match[2]]


def _made_room(opened: Cache) -> str:
    """What the summary adds where the disk tier is too small for all that was encoded."""
    from samovar.cache import Counts
    from samovar.cache.stats import ENCODER
    from samovar.sizes import format_bytes

    if opened.disk is None:
        return ""
    counts = opened.store.counter.total()
    disk = sum((count for (tier, _), count in counts.items() if tier == "disk"), Counts())
    encoded = sum(count.puts for (tier, _), count in counts.items() if tier == ENCODER)
    missing = disk.evictions + max(encoded - disk.puts, 0)
    if not missing:
        return ""
    return f"; {missing} dropped to stay within {format_bytes(opened.disk.max_bytes)} (see the setting disk)"


def _failed(source: str, message: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"image": source, "status": "failed", "error": message}))
    click.echo(message, err=True)


def _report_dropped(dropped: tuple[int, int], as_json: bool) -> None:
    from samovar.sizes import format_bytes

    count, nbytes = dropped
    if as_json:
        click.echo(json.dumps({"dropped": count, "bytes": nbytes}))
    else:
        click.echo(f"{_entries(count)} dropped, {format_bytes(nbytes)} freed", err=True)


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _plain(row: TierStats) -> dict[str, Any]:
    held = {"tier": row.tier, "model": row.model, "entries": row.entries, "bytes": row.nbytes}
    return {**held, **vars(row.counts)}


def _table(rows: Sequence[TierStats]) -> str:
    from samovar.sizes import format_bytes

    cells = [["tier", "model", "entries", "bytes", "hits", "misses", "put", "evicted", "damaged", "failed", "seconds"]]
    for row in rows:
        counts = row.counts
        numbers = [counts.hits, counts.misses, counts.puts, counts.evictions, counts.damaged, counts.failures]
        held = [row.tier, row.model, str(row.entries), format_bytes(row.nbytes)]
        seconds = f"{counts.spent:.1f} spent" if counts.spent else f"{counts.saved:.1f} saved"
        cells.append([*held, *map(str, numbers), seconds])
    return "\n".join(aligned(cells, words=2))
