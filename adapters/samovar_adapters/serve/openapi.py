"""The API's description (OpenAPI 3.1), which `/v1/openapi.json` serves."""

from __future__ import annotations

from typing import Any

from samovar import __version__

__all__ = ["document"]

_NUMBERS = {"type": "array", "items": {"type": "number"}}
_PICTURE = {
    "type": "string",
    "description": "What /v1/embed answered as `image`, or the picture itself as a data: URL.",
}
_RLE = {
    "type": "object",
    "description": "COCO run lengths: size [height, width], counts compressed.",
    "properties": {"size": {"type": "array", "items": {"type": "integer"}}, "counts": {"type": "string"}},
    "required": ["size", "counts"],
}
_PROMPT = {
    "type": "object",
    "description": "One wanted object; any of these together. Pixels of the picture, (x, y).",
    "properties": {
        "points": {"type": "array", "items": {**_NUMBERS, "minItems": 2, "maxItems": 2}},
        "point_labels": {"type": "array", "items": {"enum": [0, 1]}, "description": "1 object, 0 background"},
        "box": {**_NUMBERS, "minItems": 4, "maxItems": 4, "description": "x1 y1 x2 y2"},
        "mask": _RLE,
        "text": {"type": "string"},
        "label": {"type": ["string", "null"]},
        "id": {"type": ["string", "integer", "null"]},
    },
    "additionalProperties": False,
}
_MASK = {
    "type": "object",
    "properties": {
        "box": {**_NUMBERS, "description": "x1 y1 x2 y2"},
        "area": {"type": "integer", "description": "pixels"},
        "score": {"type": "number", "description": "predicted IoU, 0 to 1"},
        "prompt": {"type": "integer", "description": "index of the prompt it answers, -1 for none"},
        "label": {"type": ["string", "null"]},
        "id": {"type": ["string", "integer", "null"]},
        "segmentation": _RLE,
        "polygons": {
            "type": "array",
            "description": "Regions: each a ring and then its holes, rings of [x, y].",
            "items": {"type": "array", "items": {"type": "array", "items": _NUMBERS}},
        },
    },
    "required": ["box", "area", "score", "prompt", "segmentation"],
}
_MASKS = {
    "type": "object",
    "properties": {
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "seconds": {"type": "number"},
        "masks": {"type": "array", "items": _MASK},
    },
    "required": ["width", "height", "masks"],
}
_EMBEDDED = {
    "type": "object",
    "properties": {
        "image": {"type": "string", "description": "names the picture in later requests"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "cached": {"type": "boolean", "description": "whether it had been encoded before"},
        "seconds": {"type": "number"},
    },
    "required": ["image", "width", "height", "cached"],
}
_OUTLINES = {
    "polygons": {"type": "boolean", "default": False, "description": "outlines too"},
    "tolerance": {"type": "number", "minimum": 0, "maximum": 1000, "default": 0, "description": "pixels"},
}
_PROBLEM = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}


def document() -> dict[str, Any]:
    """The whole description."""
    segment = {"image": _PICTURE, "prompts": {"type": "array", "items": _PROMPT}, "multimask": {"type": "boolean"}}
    auto = {"image": _PICTURE, "parameters": {"type": "object", "description": "as of `samovar auto`"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Samovar", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": {
            "/v1/embed": {
                "post": _operation(
                    "Send a picture and have it encoded, once.",
                    {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
                    _EMBEDDED,
                )
            },
            "/v1/segment": {
                "post": _operation("Masks for prompts.", _json({**segment, **_OUTLINES}, ["image", "prompts"]), _MASKS)
            },
            "/v1/auto": {"post": _operation("Masks of every object.", _json({**auto, **_OUTLINES}, ["image"]), _MASKS)},
        },
    }


def _json(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"application/json": {"schema": schema}}


def _operation(summary: str, body: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    said = {
        "400": "the picture or the prompts cannot be used",
        "401": "the server wants a user and a password",
        "404": "the picture is not there any more",
        "413": "the body is too large",
        "503": "too much to do, or no model",
        "504": "too slow",
    }
    problems = {
        status: {"description": what, "content": {"application/json": {"schema": _PROBLEM}}}
        for status, what in said.items()
    }
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": body},
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": answer}}},
            **problems,
        },
    }
