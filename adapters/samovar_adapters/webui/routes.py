"""`/sam/…` as API clients of sd-webui-segment-anything know it: change the URL, and they talk to Samovar.

Mounted by `samovar serve --for webui`. Requests name models by checkpoint; the model that the server was started with
answers.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from samovar.errors import InputError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar_adapters.formats import png
from samovar_adapters.inpaint.segmentation_map import segmentation_map
from samovar_adapters.overlay import draw_overlay
from samovar_adapters.serve import JsonResponse

if TYPE_CHECKING:
    from samovar_adapters.serve import BodyLimits, Engine

__all__ = ["routes", "words_of"]

Answer = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
_TINT = np.array([30, 144, 255])
_OPACITY = 0.6
_MOST_DILATION = 1024
_AUTOMATIC = {
    "points_per_side", "points_per_batch", "pred_iou_thresh", "stability_score_thresh", "stability_score_offset",
    "box_nms_thresh", "crop_n_layers", "crop_nms_thresh", "crop_overlap_ratio", "crop_n_points_downscale_factor",
    "min_mask_region_area",
}  # fmt: skip


def routes(engine: Engine, bodies: BodyLimits) -> list[BaseRoute]:
    """The extension's routes over the server's engine."""
    bridge = _Bridge(engine)

    def post(path: str, answer: Answer) -> Route:
        async def handle(request: Request) -> JsonResponse:
            try:
                return JsonResponse(await answer(await bodies.json(request)))
            except InputError as error:  # in the shape of FastAPI's, which the extension's clients read
                return JsonResponse({"detail": str(error)}, 422)

        return Route(path, handle, methods=["POST"])

    return [
        Route("/sam/heartbeat", bridge.heartbeat, methods=["GET"]),
        Route("/sam/sam-model", bridge.models, methods=["GET"]),
        post("/sam/sam-predict", bridge.sam_predict),
        post("/sam/dino-predict", bridge.dino_predict),
        post("/sam/dilate-mask", bridge.dilate_mask),
        post("/sam/controlnet-seg", bridge.controlnet_seg),
        post("/sam/category-mask", bridge.category_mask),
    ]


class _Bridge:
    """Each route's request in, its answer out."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def heartbeat(self, request: Request) -> JsonResponse:
        return JsonResponse({"msg": "Success!"})

    async def models(self, request: Request) -> JsonResponse:
        return JsonResponse([self._engine.name])

    async def sam_predict(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Three masks for the clicks, or for what the words name; each blended, alone, and cut out."""
        image = self._image(payload)
        prompts = await self._prompts(image, payload)
        if not len(prompts):
            return {
                "msg": "You neither added point prompts nor enabled GroundingDINO. Segmentation cannot be generated."
            }
        masks = await self._engine.segment(image, prompts, DecodeOptions(multimask=True))
        return {"msg": "SAM inference finished."} | await self._engine.run_io(lambda: _three(image, masks))

    async def dino_predict(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The boxes around what the words name, drawn."""
        image = self._image(payload)
        boxes = await self._grounded(image, payload.get("text_prompt"))
        drawn = await self._engine.run_io(lambda: _encode(_with_boxes(image, boxes)))
        return {"msg": "Done", "image_with_box": drawn}

    async def dilate_mask(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A mask grown by some pixels."""
        image = self._image(payload)
        amount = payload.get("dilate_amount", 10)
        if not isinstance(amount, int) or not 0 <= amount <= _MOST_DILATION:
            raise InputError(f"dilate_amount: expected a whole number from 0 to {_MOST_DILATION}; got {amount!r}")
        sent = Image(_decode(payload.get("mask"), "mask"), name="mask")

        def grown() -> dict[str, Any]:
            # The extension takes the amount for the diameter of its brush.
            marked = _grown(_mask_of(sent, image), amount // 2)
            parts = _blended(image, marked), _mask_picture(marked), _cut(image, marked)
            return dict(zip(("blended_image", "mask", "masked_image"), map(_encode, parts)))

        return await self._engine.run_io(grown)

    async def controlnet_seg(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Every object in a colour of its own, for a segmentation ControlNet."""
        payload, settings = _with_settings(payload)
        image = self._image(payload)
        masks = await self._engine.segment_all(image, **settings)

        def pictures() -> dict[str, Any]:
            seg = segmentation_map(masks)
            mixed = np.rint(0.5 * image.pixels + 0.5 * seg).astype(np.uint8)
            control = _numbered(masks)
            parts = {"blended_images": mixed, "random_seg": seg, "edit_anything_control": control}
            answer = {name: _encode(picture) for name, picture in parts.items()}
            # The extension says it in the plural; `webuiapi`, which clients are built on, reads it in the singular.
            return answer | {"blended_image": answer["blended_images"]}

        return {"msg": "Random segmentation done."} | await self._engine.run_io(pictures)

    async def category_mask(self, payload: dict[str, Any]) -> dict[str, Any]:
        """One mask of all that belongs to some categories, found by their names; at the image's own size."""
        payload, _ = _with_settings(payload)
        image = self._image(payload)
        words = words_of(payload.get("category"), payload.get("processor", "seg_ofade20k"))
        boxes = np.concatenate([await self._grounded(image, word) for word in words])
        prompts = Prompts.of([Prompt(box=box) for box in boxes])
        masks = await self._engine.segment(image, prompts, DecodeOptions(multimask=False))

        def pictures() -> dict[str, Any]:
            marked = masks.union().to_array()[0]
            parts = _blended(image, marked), _mask_picture(marked), _cut(image, marked), image.pixels
            names = "blended_image", "mask", "masked_image", "resized_input"
            return dict(zip(names, map(_encode, parts)))

        return {"msg": "Done"} | await self._engine.run_io(pictures)

    def _image(self, payload: dict[str, Any]) -> Image:
        return Image(_decode(payload.get("input_image"), "input_image"), name="input_image")

    async def _prompts(self, image: Image, payload: dict[str, Any]) -> Prompts:
        positive, negative = (_points(payload, f"sam_{kind}_points") for kind in ("positive", "negative"))
        clicks: dict[str, Any] = {}
        if positive or negative:
            labels = [1] * len(positive) + [0] * len(negative)
            clicks = {"points": positive + negative, "point_labels": labels}
        if not payload.get("dino_enabled"):
            return Prompts.of([Prompt(**clicks)] if clicks else [])
        boxes = await self._grounded(image, payload.get("dino_text_prompt"))
        chosen = payload.get("dino_preview_boxes_selection") if payload.get("dino_preview_checkbox") else None
        if chosen:
            boxes = boxes[[index for index in _numbers(chosen) if 0 <= index < len(boxes)]]
        return Prompts.of([Prompt(box=box, **clicks) for box in boxes])

    async def _grounded(self, image: Image, words: Any) -> NDArray[np.float32]:
        """N×4 boxes of what `words` name: by the server's converters, else the boxes of the model's own masks."""
        if not isinstance(words, str) or not words.strip():
            raise InputError(f"expected words to look for; got {words!r}")
        asked = Prompts.of([Prompt(text=words)])
        runtime = await self._engine.runtime()
        for source in runtime.converters:
            found = (await self._engine.run_encoder(lambda source=source: source.prompts([image], [asked])))[0]  # type: ignore[misc]
            boxes = [prompt.box for prompt in found if prompt.box is not None]
            return np.array(boxes, np.float32).reshape(-1, 4)
        return (await self._engine.segment(image, asked)).boxes


def _points(payload: dict[str, Any], field: str) -> list[list[float]]:
    points = payload.get(field) or []
    try:
        return [[float(x), float(y)] for x, y in points]
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{field}: expected a list of [x, y]; got {points!r:.80}") from None


def _numbers(chosen: Any) -> list[int]:
    try:
        return [int(index) for index in chosen]
    except (TypeError, ValueError, OverflowError):
        wanted = "dino_preview_boxes_selection: expected a list of numbers"
        raise InputError(f"{wanted}; got {chosen!r:.80}") from None


def _three(image: Image, masks: Masks) -> dict[str, Any]:
    """The extension's three choices. With several objects, each choice is their union."""
    planes = []
    for choice in range(3):
        picked = [np.flatnonzero(masks.prompt_index == i) for i in np.unique(masks.prompt_index)]
        chosen = [int(indices[min(choice, len(indices) - 1)]) for indices in picked]
        planes.append(
            masks[chosen].union().to_array()[0] if chosen else np.zeros((image.height, image.width), np.bool_)
        )
    return {
        "blended_images": [_encode(_blended(image, plane)) for plane in planes],
        "masks": [_encode(_mask_picture(plane)) for plane in planes],
        "masked_images": [_encode(_cut(image, plane)) for plane in planes],
    }


def _with_boxes(image: Image, boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
    drawn = []
    for x1, y1, x2, y2 in np.rint(np.clip(boxes, 0, [image.width, image.height] * 2)).astype(int).tolist():
        if x1 < x2 and y1 < y2:
            drawn.append((np.ones((y2 - y1, x2 - x1), np.bool_), (x1, y1)))
    if not drawn:
        return image.pixels
    crops, origins = zip(*drawn)
    return draw_overlay(image, Masks.from_crops(list(crops), list(origins), image.width, image.height))


def _with_settings(payload: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The request and the automatic-mask settings, which clients send beside it or in the same object."""
    beside = payload.get("autosam_conf")
    request = payload.get("payload") if isinstance(payload.get("payload"), dict) else payload
    given = {**(request or {}), **(beside if isinstance(beside, dict) else {})}
    return dict(request or {}), {name: given[name] for name in _AUTOMATIC & set(given) if given[name] is not None}


def _numbered(masks: Masks) -> NDArray[np.uint8]:
    """EditAnything's control picture: the number of each pixel's mask, low byte in red and high byte in green."""
    labels = masks.to_label_map()
    return np.dstack([labels % 256, labels // 256, np.zeros_like(labels)]).astype(np.uint8)


# ------------------------------------------------------------------------------------------- images


def _decode(text: Any, field: str) -> bytes:
    """The bytes of a picture that was sent. Raises InputError: paths on the server's disk, for one, are not opened."""
    if not isinstance(text, str) or not text:
        raise InputError(f"{field}: expected a picture in base64; got {type(text).__name__}")
    try:
        return base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except ValueError:  # binascii.Error, and what is no ASCII
        raise InputError(f"{field}: expected a picture in base64; got {text[:40]!r}; files are not opened") from None


def _encode(pixels: NDArray[Any]) -> str:
    """H×W grey, RGB or RGBA uint8 as PNG in base64."""
    return base64.b64encode(png(pixels)).decode("ascii")


def _mask_picture(mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """White where the object is."""
    return mask.astype(np.uint8) * 255


def _blended(image: Image, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The image with the mask tinted."""
    result = image.pixels.copy()
    result[mask] = np.rint(_OPACITY * _TINT + (1 - _OPACITY) * result[mask]).astype(np.uint8)
    return result


def _cut(image: Image, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """H×W×4: what is masked, on a transparent background."""
    return np.dstack([image.pixels, _mask_picture(mask)])


def _mask_of(sent: Image, image: Image) -> NDArray[np.bool_]:
    """H×W of a picture of a mask: white is the object, or 1 where there is no more. Raises InputError."""
    if (sent.width, sent.height) != (image.width, image.height):
        expected = f"expected the input image's {image.width}×{image.height} pixels"
        raise InputError(f"mask: {expected}; got {sent.width}×{sent.height}; send the mask that was answered")
    grey = sent.pixels.max(axis=2)
    mask: NDArray[np.bool_] = grey >= 128 if grey.max() > 1 else grey > 0
    if not mask.any():
        raise InputError("mask: expected one that marks something; got an empty one; prompt again")
    return mask


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """The mask and all within so many pixels of it."""
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance <= pixels)


# ------------------------------------------------------------------------------------------- categories

_MOST_CATEGORIES = 32

# The 150 classes of ADE20K (Zhou et al., 2017), each by its first name, in the benchmark's order.
_ADE20K = """wall, building, sky, floor, tree, ceiling, road, bed, window, grass, cabinet, sidewalk, person, ground,
door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, pedestal, box, column, signboard, chest
of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, display case,
pool table, pillow, screen door, staircase, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
bench, countertop, stove, palm tree, kitchen island, computer, swivel chair, boat, bar, arcade machine, hut, bus,
towel, light, truck, tower, chandelier, awning, street lamp, booth, television, airplane, dirt track, clothes, pole,
soil, banister, escalator, ottoman, bottle, sideboard, poster, stage, van, ship, fountain, conveyor belt, canopy,
washing machine, toy, swimming pool, stool, barrel, basket, waterfall, tent, bag, motorbike, cradle, oven, ball, food,
step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, exhaust hood,
sconce, vase, traffic light, tray, trash can, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator,
glass, clock, flag"""

# The 80 things and 53 stuffs of COCO's panoptic task (Kirillov et al., 2019), numbered without gaps.
_COCO = """person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop
sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella,
handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard,
surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange,
broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop,
mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy
bear, hair drier, toothbrush, banner, blanket, bridge, cardboard, counter, curtain, door, wooden floor, flower, fruit,
gravel, house, light, mirror, net, pillow, platform, playing field, railroad, river, road, roof, sand, sea, shelf,
snow, stairs, tent, towel, brick wall, stone wall, tiled wall, wooden wall, water, window blind, window, tree, fence,
ceiling, sky, cabinet, table, floor, pavement, mountain, grass, dirt, paper, food, building, rock, wall, rug"""

_NAMES = {
    processor: " ".join(names.split()).split(", ")
    for processor, names in (("seg_ufade20k", _ADE20K), ("seg_ofade20k", _ADE20K), ("seg_ofcoco", _COCO))
}


def words_of(category: Any, processor: Any) -> list[str]:
    """What `category` names: numbers of the processor's data set joined by `+`, as in "7+12"; words may be among them.

    Raises:
        InputError: neither, a number that the data set does not have, or another processor.
    """
    parts = [part.strip() for part in category.split("+")] if isinstance(category, str) else []
    if not all(parts) or not 0 < len(parts) <= _MOST_CATEGORIES:
        raise InputError(
            f"category: expected up to {_MOST_CATEGORIES} numbers or words joined by +; got {category!r:.80}"
        )
    names = _NAMES.get(processor) if isinstance(processor, str) else None
    if names is None:
        raise InputError(f"processor: expected one of {', '.join(_NAMES)}; got {processor!r:.80}")
    return [_word(part, names, str(processor)) for part in dict.fromkeys(parts)]


def _word(part: str, names: list[str], processor: str) -> str:
    if not part.isdecimal():
        return part
    if len(part) > 4 or int(part) >= len(names):
        raise InputError(f"category: {processor} has the numbers 0 to {len(names) - 1}; got {part:.20}")
    return names[int(part)]
