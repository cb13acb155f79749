"""`/v1`: embed, segment and auto, for tools that speak HTTP and JSON; and its description, made from the same types."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.routing import BaseRoute, Route

from samovar import __version__
from samovar.automatic import AutomaticOptions
from samovar.errors import InputError, PromptError
from samovar.image import Image, parse_data_url
from samovar.protocols import DecodeOptions
from samovar.schema import (
    AutoRequest,
    EmbedResponse,
    ErrorResponse,
    MasksResponse,
    OpenImage,
    SegmentRequest,
    is_data_url,
    mask_records,
    prompts_of,
)
from samovar_adapters.serve.http import BodyLimits, JsonResponse, NotFound

if TYPE_CHECKING:
    from starlette.requests import Request

    from samovar.masks import Masks
    from samovar_adapters.serve.engine import Engine

__all__ = ["ImageStore", "api_routes", "document"]

KEPT_BYTES = 256 << 20
MAX_PROMPTS = 10_000


def api_routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    """The routes of the API. Images that were sent are kept for a while, so that each travels once."""
    sent = SentImages(ImageStore(KEPT_BYTES))

    async def embed(request: Request) -> JsonResponse:
        data = await bodies.read(request)
        if not data:
            raise InputError("expected the bytes of an image as the body; got nothing")
        key, image = await engine.run_io(lambda: sent.keep(data))
        done = await engine.embed(image)
        return JsonResponse(EmbedResponse(key, done.width, done.height, done.cached, round(done.seconds, 4)))

    async def segment(request: Request) -> JsonResponse:
        wanted = await bodies.json_as(request, SegmentRequest)
        if len(wanted.prompts) > MAX_PROMPTS:
            got = f"got {len(wanted.prompts)}; send several requests"
            raise PromptError(f"prompts: at most {MAX_PROMPTS} prompts a request; {got}")
        image = await engine.run_io(lambda: sent.image(wanted.image))
        began = time.perf_counter()
        answer = await engine.answer(
            lambda: (image, prompts_of(wanted.prompts, "prompts", sent)),
            lambda masks: _masks(masks, wanted, began),
            DecodeOptions(multimask=wanted.multimask),
            count=len(wanted.prompts),
        )
        return JsonResponse(answer)

    async def auto(request: Request) -> JsonResponse:
        wanted = await bodies.json_as(request, AutoRequest)
        parameters = wanted.parameters or {}
        AutomaticOptions().override(parameters)  # which refuses unknown names, those of our own arguments among them
        image = await engine.run_io(lambda: sent.image(wanted.image))
        began = time.perf_counter()
        masks = await engine.segment_all(image, **parameters)
        return JsonResponse(await engine.run_io(lambda: _masks(masks, wanted, began)))

    async def describe(request: Request) -> JsonResponse:
        return JsonResponse(document())

    return [
        Route("/v1/embed", embed, methods=["POST"]),
        Route("/v1/segment", segment, methods=["POST"]),
        Route("/v1/auto", auto, methods=["POST"]),
        Route("/openapi.json", describe),
        Route("/v1/openapi.json", describe),
    ]


def _masks(masks: Masks, wanted: SegmentRequest | AutoRequest, began: float) -> MasksResponse:
    """The masks as `samovar segment --json` prints them, and their outlines if wanted."""
    records = mask_records(masks, wanted.tolerance if wanted.polygons else None)
    return MasksResponse(masks.width, masks.height, round(time.perf_counter() - began, 4), records)


# ------------------------------------------------------------------------------------------- images


@dataclass(frozen=True)
class _Kept:
    image: Image
    size: int
    since: float


class ImageStore:
    """The most recently used images by key, within a budget of bytes and of age.

    Args:
        budget: bytes of encoded files in all; the pixels are never kept.
        seconds: how long one is good for, because what a URL shows may change; None: for ever.
    """

    def __init__(self, budget: int, seconds: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget, self.seconds, self._clock = budget, seconds, clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, key: str, image: Image, size: int) -> None:
        """Keep the file of `image`, of `size` bytes. Raises ImageError, and keeps nothing, if it is no image."""
        fresh = image.without_pixels()
        with self._lock:
            self._drop(key)
            if size <= self.budget:
                self._kept[key] = _Kept(fresh, size, self._clock())
                self._size += size
            while self._size > self.budget:
                self._drop(next(iter(self._kept)))

    def get(self, key: str) -> Image | None:
        """The image, if it is still there and young enough."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            if self.seconds is not None and self._clock() - kept.since > self.seconds:
                self._drop(key)
                return None
            self._kept.move_to_end(key)
        return kept.image.without_pixels()

    def _drop(self, key: str) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._size -= kept.size


class SentImages(OpenImage):
    """Images that clients sent, by the name that `/v1/embed` answered, or in the request itself. Nothing is fetched."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store

    def keep(self, data: bytes) -> tuple[str, Image]:
        """The image of these bytes, kept under its content's digest, which no client can choose or guess."""
        image = Image(data, name="image")
        key = image.file_digest() or image.digest
        self._store.put(key, image, len(data))
        return key, image

    def image(self, name: str) -> Image:
        """Raises NotFound for a name that is not, or no longer, known; ImageError."""
        if is_data_url(name):
            return self.keep(parse_data_url(name))[1]
        image = self._store.get(name)
        if image is None:
            raise NotFound("no such image here, or no longer; send it to /v1/embed again")
        return image


# ------------------------------------------------------------------------------------------- the description

# A disc, small enough to be shown.
_SAMPLE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAADAAAAAgAQMAAABuGmlfAAAABlBMVEXr4dLSYBpWn75wAAAAQElEQVR42pXJsQ2AIAAF"
    "0cePA7iRjsZojuIIFpYELGxoueaSOxY4bsK5QxmN/CMixKZMcVnNILo+xVFfwvVY5wN35guxognwWQAAAABJRU5ErkJggg=="
)
_DISC = {"size": [32, 48], "counts": "[=9f02M4N0O2N2O0000000000000001N2N102L3Nf?"}


@dataclass(frozen=True)
class _Operation:
    """One route of the API.

    Attributes:
        request: the type of its JSON body; None for an image's bytes.
        response: the type of its answer.
        examples: bodies by name, which can be sent as they stand.
    """

    summary: str
    request: type | None
    response: type
    examples: dict[str, dict[str, Any]] = field(default_factory=dict)


_OPERATIONS = {
    "/v1/embed": _Operation("Send an image and have it encoded, once.", None, EmbedResponse),
    "/v1/segment": _Operation(
        "Masks for prompts.",
        SegmentRequest,
        MasksResponse,
        {
            "a box": {"image": _SAMPLE, "prompts": [{"box": [10, 4, 34, 28], "label": "sun", "id": 1}]},
            "clicks": {
                "image": _SAMPLE,
                "prompts": [{"points": [[22, 15], [44, 3]], "point_labels": [1, 0]}],
                "multimask": True,
            },
            "in short": {"image": _SAMPLE, "prompts": [[10, 4, 34, 28], [22, 15]]},
            "with outlines": {"image": _SAMPLE, "prompts": [[10, 4, 34, 28]], "polygons": True, "tolerance": 1},
            "a rough mask": {"image": _SAMPLE, "prompts": [{"mask": _DISC}, {"mask": _SAMPLE}]},
            "words": {"image": _SAMPLE, "prompts": [{"text": "an orange disc"}]},
            "an example": {"image": _SAMPLE, "prompts": [{"exemplar": {"image": _SAMPLE, "mask": _DISC}}]},
        },
    ),
    "/v1/auto": _Operation(
        "Masks of every object.",
        AutoRequest,
        MasksResponse,
        {"sparsely": {"image": _SAMPLE, "parameters": {"points_per_side": 4}}},
    ),
}
_PROBLEMS = {
    "400": "the image or the prompts cannot be used",
    "401": "the server wants a user and a password",
    "404": "the image is not there any more",
    "413": "the body is too large",
    "503": "too much to do, or no model",
    "504": "too slow",
}


def document() -> dict[str, Any]:
    """The API's description (OpenAPI 3.1)."""
    kinds = [kind for one in _OPERATIONS.values() for kind in (one.request, one.response) if kind is not None]
    references, components = msgspec.json.schema_components(
        [*kinds, ErrorResponse], ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip([*kinds, ErrorResponse], references))

    def content(schema: Any, **more: Any) -> dict[str, Any]:
        return {"application/json": {"schema": schema, **more}}

    problems = {
        status: {"description": what, "content": content(schema_of[ErrorResponse])}
        for status, what in _PROBLEMS.items()
    }
    paths = {}
    for path, one in _OPERATIONS.items():
        if one.request is None:
            body = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        else:
            examples = {name: {"value": value} for name, value in one.examples.items()}
            body = content(schema_of[one.request], examples=examples)
        done = {"description": "done", "content": content(schema_of[one.response])}
        paths[path] = {
            "post": {
                "operationId": path.rpartition("/")[2],
                "summary": one.summary,
                "requestBody": {"required": True, "content": body},
                "responses": {"200": done, **problems},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Samovar", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": components},
    }
