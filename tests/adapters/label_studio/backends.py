"""A backend in this process over a segmenter that fills boxes, and requests as Label Studio writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from starlette.testclient import TestClient

from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.predictor import BackendOptions
from samovar_adapters.label_studio.routes import backend_routes
from samovar_adapters.serve import BodyLimits, Engine
from tests.adapters.label_studio.servers import Answer, Server, serving
from tests.adapters.serve.served import client_of, engine_of, flat
from tests.fakes import FilledBoxes

__all__ = ["CONFIG", "backend", "click", "request", "studio_files", "task"]

CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="brush" toName="image"><Label value="cat"/></BrushLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="cat"/></KeyPointLabels></View>"""


def studio_files(path: str, authorization: str | None, body: bytes) -> Answer:
    """/data/upload/RED.png is a picture of that red."""
    name = path.rpartition("/")[2].partition(".")[0]
    return (200, flat(int(name)), {}) if name.isdecimal() else (404, b"no", {})


@contextmanager
def backend(
    segmenter: FilledBoxes | None = None, options: BackendOptions | None = None, **more: Any
) -> Iterator[tuple[TestClient, Server, Engine]]:
    with ExitStack() as stack:
        studio = stack.enter_context(serving(studio_files))
        engine = engine_of(segmenter or FilledBoxes())
        client = Client(studio.url, "abc")
        more = {"prefetch": False, **more}
        routes = backend_routes(engine, BodyLimits(1 << 20, 1 << 24), client, options or BackendOptions(), **more)
        yield stack.enter_context(client_of(engine, routes=routes)), studio, engine


def task(red: int | str, number: int = 1) -> dict[str, Any]:
    return {"id": number, "data": {"image": f"/data/upload/{red}.png"}}


def click(x: float = 50, y: float = 50) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": 1, "keypointlabels": ["cat"]}
    return {"type": "keypointlabels", "to_name": "image", "from_name": "point", "is_positive": True, "value": value}


def request(*tasks: dict[str, Any], drawn: Any = None, config: str = CONFIG) -> dict[str, Any]:
    context = None if drawn is None else {"result": drawn}
    return {"tasks": list(tasks), "project": "7.169", "label_config": config, "params": {"context": context}}
