"""Routes that installed packages add to the server."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from samovar_adapters.serve import mounts
from samovar_adapters.serve.bodies import BodyLimits
from tests.adapters.serve.served import client_of, engine_of
from tests.fakes import FilledBoxes


def teapot(engine: Any, bodies: BodyLimits) -> list[Route]:
    async def tea(request: Any) -> PlainTextResponse:
        return PlainTextResponse(engine.name)

    return [Route("/tea", tea)]


def broken(engine: Any, bodies: BodyLimits) -> list[Route]:
    raise RuntimeError("out of tea")


def test_a_package_adds_routes_and_a_broken_one_only_loses_its_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points = [EntryPoint(name, f"{__name__}:{name}", mounts.GROUP) for name in ("teapot", "broken")]
    monkeypatch.setattr(mounts, "entry_points", lambda group: points)
    engine = engine_of(FilledBoxes())
    with caplog.at_level(logging.WARNING, "samovar"):
        routes = mounts.mounted(engine, BodyLimits(1 << 20, 1 << 20))
    assert [record.fields["name"] for record in caplog.records] == ["broken"]  # type: ignore[attr-defined]
    with client_of(engine, routes=routes) as client:
        assert client.get("/tea").text == "boxes"
        assert client.get("/health").status_code == 200
