"""`/v1`: embed, segment and auto, for tools that speak HTTP and JSON."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from samovar.automatic import AutomaticOptions
from samovar.errors import InputError, PromptError
from samovar.image import Image, parse_data_url
from samovar.prompt_files import load_prompts
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_adapters.serve.openapi import document
from samovar_adapters.serve.pictures import ImageStore
from samovar_adapters.serve.problems import NotFound

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import BaseRoute

    from samovar.masks import Masks
    from samovar_adapters.serve.bodies import BodyLimits
    from samovar_adapters.serve.engine import Engine

__all__ = ["api_routes"]

KEPT_BYTES = 256 << 20
MAX_PROMPTS = 10_000


def api_routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    """The routes of the API. Images that were sent are kept for a while, so that each travels once."""
    from starlette.routing import Route

    from samovar_adapters.serve.responses import JsonResponse

    pictures = ImageStore(KEPT_BYTES)

    async def embed(request: Request) -> Response:
        data = await bodies.read(request)
        if not data:
            raise InputError("expected the bytes of a picture as the body; got nothing")
        key, image = await engine.run_io(lambda: _keep(pictures, data))
        done = await engine.embed(image)
        answer = {"image": key, "width": done.width, "height": done.height, "cached": done.cached}
        return JsonResponse({**answer, "seconds": round(done.seconds, 4)})

    async def segment(request: Request) -> Response:
        wanted = _Wanted(await bodies.json(request), {"prompts", "multimask"})
        image = await engine.run_io(lambda: wanted.picture(pictures))
        began = time.perf_counter()
        answer = await engine.answer(
            lambda: (image, wanted.prompts()),
            lambda masks: wanted.answer(masks, began),
            DecodeOptions(multimask=wanted.flag("multimask")),
            count=len(wanted.given()),
        )
        return JsonResponse(answer)

    async def auto(request: Request) -> Response:
        wanted = _Wanted(await bodies.json(request), {"parameters"})
        parameters = wanted.fields.get("parameters") or {}
        if not isinstance(parameters, dict):
            raise InputError(f"parameters must be an object; got {type(parameters).__name__}")
        AutomaticOptions().override(parameters)  # which refuses unknown names, those of our own arguments among them
        image = await engine.run_io(lambda: wanted.picture(pictures))
        began = time.perf_counter()
        masks = await engine.segment_all(image, **parameters)
        return JsonResponse(await engine.run_io(lambda: wanted.answer(masks, began)))

    async def described(request: Request) -> Response:
        return JsonResponse(document())

    return [
        Route("/v1/embed", embed, methods=["POST"]),
        Route("/v1/segment", segment, methods=["POST"]),
        Route("/v1/auto", auto, methods=["POST"]),
        Route("/v1/openapi.json", described),
    ]


def _keep(pictures: ImageStore, data: bytes) -> tuple[str, Image]:
    """The picture under its content's digest, which no client can choose or guess."""
    image = Image(data, name="picture")
    key = image.file_digest() or image.digest
    pictures.put(key, image, len(data))
    return key, image


class _Wanted:
    """The JSON of one request, checked as it is asked for."""

    COMMON = frozenset({"image", "polygons", "tolerance"})

    def __init__(self, fields: Mapping[str, Any], own: set[str]) -> None:
        self.fields = fields
        unknown = sorted(fields.keys() - self.COMMON - own)
        if unknown:
            known = ", ".join(sorted(self.COMMON | own))
            raise InputError(f"expected the keys {known}; got {unknown[0]!r:.60}; see /v1/openapi.json")

    def picture(self, pictures: ImageStore) -> Image:
        given = self.fields.get("image")
        if not isinstance(given, str) or not given:
            raise InputError("image must be what /v1/embed answered, or a data: URL; got neither")
        if given[:5].lower() == "data:":
            return _keep(pictures, parse_data_url(given))[1]
        image = pictures.get(given)
        if image is None:
            raise NotFound("no such picture here, or no longer; send it to /v1/embed again")
        return image

    def given(self) -> list[Any]:
        """The prompts as they came."""
        given = self.fields.get("prompts")
        if not isinstance(given, list):
            raise PromptError(f"prompts must be a list; got {type(given).__name__}")
        if len(given) > MAX_PROMPTS:
            raise PromptError(f"at most {MAX_PROMPTS} prompts a request; got {len(given)}; send several requests")
        return given

    def prompts(self) -> Prompts:
        given = self.given()
        if any(isinstance(one, dict) and isinstance(one.get("mask"), str) for one in given):
            # In a file of prompts this would be the path of a picture, on this machine.
            raise PromptError("mask must be a COCO RLE object over HTTP; got a string")
        found = load_prompts(given)
        assert isinstance(found, Prompts)  # noqa: S101  (a list is one image's)
        return found

    def flag(self, name: str) -> bool:
        value = self.fields.get(name, False)
        if not isinstance(value, bool):
            raise InputError(f"{name} must be true or false; got {value!r:.60}")
        return value

    def answer(self, masks: Masks, began: float) -> dict[str, Any]:
        """The masks as JSON: what `samovar segment --json` prints of them, and their outlines if wanted."""
        from samovar.schema import masks_to_records

        rows = masks_to_records(masks)
        if self.flag("polygons"):
            for row, polygons in zip(rows, masks.to_polygons(self._tolerance())):
                row["polygons"] = [[ring.tolist() for ring in polygon.rings] for polygon in polygons]
        seconds = round(time.perf_counter() - began, 4)
        return {"width": masks.width, "height": masks.height, "seconds": seconds, "masks": rows}

    def _tolerance(self) -> float:
        value = self.fields.get("tolerance", 0.0)
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1000
        if not fits or not math.isfinite(value):
            raise InputError(f"tolerance must be a number of pixels from 0 to 1000; got {value!r:.60}")
        return float(value)
