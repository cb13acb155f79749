"""Which plugins the installed packages name. Reading package metadata is slow: nothing else here does it."""

from __future__ import annotations

from importlib.metadata import EntryPoint, distributions, entry_points

from samovar.plugins.hookspecs import PROJECT
from samovar.plugins.records import Record
from samovar.plugins.trace import one_line

__all__ = ["discover"]


def discover() -> tuple[list[EntryPoint], list[Record]]:
    """The entry points of the group, and a record for each package whose list of them cannot be read."""
    try:
        return list(entry_points(group=PROJECT)), []
    except Exception:  # noqa: BLE001 - one package with a torn file fails them all, with whatever parsing it raises
        return _one_by_one()


def _one_by_one() -> tuple[list[EntryPoint], list[Record]]:
    """The same, a package at a time: slower, but the torn one is left out. Of two of one name the first counts."""
    found: list[EntryPoint] = []
    torn: list[Record] = []
    seen = set()
    for distribution in distributions():
        name = "unknown"
        try:
            name = distribution.name
            if name not in seen:
                seen.add(name)
                found += distribution.entry_points.select(group=PROJECT)
        except Exception as error:  # noqa: BLE001
            torn.append(
                Record(name, source=distribution, problems=[f"its entry points cannot be read: {one_line(error)}"])
            )
    return found, torn
