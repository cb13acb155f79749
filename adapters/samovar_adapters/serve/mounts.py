"""Routes that other packages bring: entry points of the group `samovar.routes`.

Each names a callable; `samovar serve` calls it once, as `target(engine, bodies) -> list of Starlette routes`:

    [project.entry-points."samovar.routes"]
    my-tool = "my_package.routes:routes"
"""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from samovar_adapters.serve.bodies import BodyLimits
    from samovar_adapters.serve.engine import Engine

__all__ = ["GROUP", "mounted"]

GROUP = "samovar.routes"

_log = logging.getLogger("samovar.serve")


def mounted(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    """All routes of the installed packages. One that cannot be loaded is logged, and the others serve."""
    points = sorted(entry_points(group=GROUP), key=lambda one: one.name)
    return [route for point in points for route in _routes(point, engine, bodies)]


def _routes(point: EntryPoint, engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    try:
        return list(point.load()(engine, bodies))
    except Exception as error:  # noqa: BLE001  (a stranger's package must not keep the server from starting)
        fields = {"name": point.name, "error": f"{type(error).__name__}: {error}"}
        _log.warning("routes not served", extra={"fields": fields})
        return []
