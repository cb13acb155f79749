"""Routes that installed packages offer, for servers that are asked to answer them."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from samovar.errors import PluginError, UnknownNameError
from samovar_adapters.serve import BodyLimits, app, find_routes
from tests.adapters.serve.served import client_of, engine_of
from tests.fakes import FilledBoxes


def teapot(engine: Any, bodies: BodyLimits) -> list[Route]:
    async def tea(request: Any) -> PlainTextResponse:
        return PlainTextResponse(engine.name)

    return [Route("/tea", tea)]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("teapot", f"{__name__}:teapot", "samovar.routes"),
        EntryPoint("cup", "no.such", "samovar.routes"),
    ]
    monkeypatch.setattr(app, "entry_points", lambda group: points)


def test_a_packages_routes_are_served_to_those_who_ask() -> None:
    engine = engine_of(FilledBoxes())
    with client_of(engine, routes=find_routes("teapot")(engine, BodyLimits(1 << 20, 1 << 20))) as client:
        assert client.get("/tea").text == "boxes"
        assert client.get("/health").status_code == 200
    with client_of(engine_of(FilledBoxes())) as client:
        assert client.get("/tea").status_code == 404


def test_routes_that_cannot_be_had_are_named_before_anything_listens() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown routes 'teapto'; did you mean teapot\?"):
        find_routes("teapto")
    with pytest.raises(PluginError, match=r"the routes 'cup' cannot be imported .* leave out --for cup"):
        find_routes("cup")
