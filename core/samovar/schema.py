"""What prompts and masks look like outside Python: one set of types for files, `--json` lines and HTTP bodies.

Each type is a `msgspec.Struct`: what is read is checked against it, what is written is made from it, and the OpenAPI
document is generated from it. It says which keys there are and of what kind; numbers are checked where all numbers of
prompts are, by `samovar.Prompt`. Everything is optional that Python has a default for.

Coordinates are pixels of the original image, (x, y), pixel centres at +0.5; boxes are x1 y1 x2 y2.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

import msgspec
import numpy as np
from msgspec import UNSET, Meta, Struct, UnsetType
from numpy.typing import NDArray

from samovar.errors import ImageError, InputError, MaskError, PromptError
from samovar.prompts import Exemplar, Prompt, Prompts

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = [
    "PROMPT_KEYS",
    "AutoRequest",
    "EmbedResponse",
    "ErrorResponse",
    "ExemplarRecord",
    "ImageRecord",
    "MaskRecord",
    "MasksResponse",
    "OpenImage",
    "PromptRecord",
    "RunLengths",
    "SegmentRequest",
    "image_record",
    "is_data_url",
    "mask_records",
    "masks_to_records",
    "prompt_record",
    "prompts_of",
    "read",
]

T = TypeVar("T")

# ------------------------------------------------------------------------------------------- what stands in fields

_NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}
_PAIR = {**_NUMBERS, "minItems": 2, "maxItems": 2}
_FOUR = {**_NUMBERS, "minItems": 4, "maxItems": 4}

# Their numbers are checked by `Prompt`, in NumPy; the schema says what it will find good.
_Points = Annotated[
    list[Any],
    Meta(
        description="Clicks (x, y), or one click.",
        extra_json_schema={"anyOf": [{"type": "array", "items": _PAIR, "minItems": 1}, _PAIR]},
        examples=[[[310, 120], [363, 285]]],
    ),
]
_PointLabels = (
    Annotated[
        list[Any],
        Meta(
            description="1 object, 0 background; one a point.",
            extra_json_schema={"items": {"enum": [0, 1, False, True]}},
        ),
    ]
    | Annotated[int, Meta(description="That of one point.", ge=0, le=1)]
)
_Box = Annotated[list[Any], Meta(description="x1 y1 x2 y2", extra_json_schema=_FOUR, examples=[[104, 2, 272, 198]])]
_Row = Annotated[
    list[Any],
    Meta(
        description="A prompt in short: a box x1 y1 x2 y2, or a foreground point x y.",
        extra_json_schema={"anyOf": [_FOUR, _PAIR]},
        examples=[[104, 2, 272, 198]],
    ),
]
_Id: TypeAlias = str | int | None
_MaskBox = Annotated[list[float], Meta(description="x1 y1 x2 y2", min_length=4, max_length=4)]


class RunLengths(Struct):
    """COCO run lengths of a mask: column by column, beginning with background."""

    size: Annotated[list[int], Meta(description="height, width", min_length=2, max_length=2)]
    counts: (
        Annotated[str, Meta(description="COCO's compressed form")]
        | Annotated[list[int], Meta(description="the runs themselves")]
    )


class ExemplarRecord(Struct, forbid_unknown_fields=True):
    """An image, and a mask of its size that shows an example of what to find."""

    image: Annotated[str, Meta(description="As the image of the request; in a file the path of one.")]
    mask: RunLengths | str


class PromptRecord(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One wanted object: any of points, box, mask, text and exemplar, together."""

    points: _Points | None = None
    point_labels: _PointLabels | None = None
    box: _Box | None = None
    mask: (
        Annotated[
            RunLengths | str,
            Meta(
                description="Run lengths, or an image that is not black inside: a data: URL, in a file also its path."
            ),
        ]
        | None
    ) = None
    text: Annotated[str, Meta(description="words that name the object", examples=["a red cup"])] | None = None
    exemplar: ExemplarRecord | None = None
    label: Annotated[str, Meta(description="what to call the object; rides through to its masks")] | None = None
    id: Annotated[_Id, Meta(description="rides through to its masks")] = None


PROMPT_KEYS: tuple[str, ...] = PromptRecord.__struct_fields__
"""The keys of a prompt."""


class MaskRecord(Struct):
    """One mask."""

    box: _MaskBox
    area: Annotated[int, Meta(description="pixels", ge=0)]
    score: Annotated[float, Meta(description="predicted IoU, 0 to 1")]
    prompt: Annotated[int, Meta(description="index of the prompt that it answers, -1 for none")]
    label: str | None
    id: _Id
    segmentation: RunLengths
    polygons: Annotated[
        list[list[list[list[float]]]] | UnsetType,
        Meta(description="Regions: each a ring and then its holes, rings of (x, y). Only where asked for."),
    ] = UNSET


class ImageRecord(Struct):
    """What became of one image of a command: a line of `--json`."""

    image: str
    status: Annotated[str, Meta(description="written, skipped or failed")]
    width: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    masks: list[MaskRecord] | UnsetType = UNSET
    error: str | UnsetType = UNSET


# ------------------------------------------------------------------------------------------- over HTTP

_Image = Annotated[
    str,
    Meta(
        description="What /v1/embed answered as `image`, or the image itself as a data: URL.",
        min_length=1,
    ),
]
_Tolerance = Annotated[float, Meta(description="pixels that outlines may be off, to have fewer points", ge=0, le=1000)]


class SegmentRequest(Struct, forbid_unknown_fields=True):
    """Prompts on one image."""

    image: _Image
    prompts: list[PromptRecord | _Row]
    multimask: Annotated[bool, Meta(description="up to three masks a prompt: whole, part, sub-part")] = False
    polygons: Annotated[bool, Meta(description="outlines, too")] = False
    tolerance: _Tolerance = 0.0


class AutoRequest(Struct, forbid_unknown_fields=True):
    """Every object of one image."""

    image: _Image
    parameters: Annotated[
        dict[str, Any] | None,
        Meta(description="as of `samovar auto`, by SAM's names", examples=[{"points_per_side": 16}]),
    ] = None
    polygons: Annotated[bool, Meta(description="outlines, too")] = False
    tolerance: _Tolerance = 0.0


class EmbedResponse(Struct):
    """An image that is known from now on."""

    image: Annotated[str, Meta(description="names the image in later requests")]
    width: int
    height: int
    cached: Annotated[bool, Meta(description="whether it had been encoded before")]
    seconds: float


class MasksResponse(Struct):
    """The masks of one image."""

    width: int
    height: int
    seconds: float
    masks: list[MaskRecord]


class ErrorResponse(Struct):
    """Why a request failed, in one line."""

    error: str


# ------------------------------------------------------------------------------------------- writing


def mask_records(masks: Masks, polygons_within: float | None = None) -> list[MaskRecord]:
    """One record a mask.

    Args:
        polygons_within: give outlines, too, that are off by so many pixels at most.
    """
    outlines = masks.to_polygons(polygons_within) if polygons_within is not None else ()
    drawn = ([[ring.tolist() for ring in polygon.rings] for polygon in polygons] for polygons in outlines)
    return [
        MaskRecord(
            [round(value, 2) for value in box],
            area,
            round(score, 4),
            prompt,
            label,
            ident,
            RunLengths(rle["size"], rle["counts"]),
            next(drawn, UNSET),
        )
        for box, area, score, prompt, label, ident, rle in zip(
            masks.boxes.tolist(),
            masks.areas.tolist(),
            masks.scores.tolist(),
            masks.prompt_index.tolist(),
            masks.labels,
            masks.ids,
            masks.to_coco_rle(),
        )
    ]


def masks_to_records(masks: Masks) -> list[dict[str, Any]]:
    """Masks as dicts that JSON can hold: box x1 y1 x2 y2 and area in pixels, score, prompt, label, id, COCO RLE."""
    records: list[dict[str, Any]] = msgspec.to_builtins(mask_records(masks))
    return records


def prompt_record(prompt: Prompt, where: str) -> PromptRecord:
    """One prompt as its record. Raises PromptError, which begins with `where`, for what JSON cannot hold."""
    record = PromptRecord(text=prompt.text, label=prompt.label, id=prompt.id)
    if prompt.points is not None and prompt.point_labels is not None:
        record.points = [_shortest(point) for point in prompt.points]
        record.point_labels = prompt.point_labels.tolist()
    if prompt.box is not None:
        record.box = _shortest(prompt.box)
    if isinstance(prompt.mask, np.ndarray):
        got = "got low-resolution logits; drop or threshold them"
        raise PromptError(f"{where}: expected a mask of pixels; {got}")
    if prompt.mask is not None:
        record.mask = RunLengths(**prompt.mask.to_coco_rle()[0])
    if prompt.exemplar is not None:
        raise PromptError(f"{where}: expected what JSON can hold; got an exemplar; drop it or keep it in Python")
    return record


def _shortest(values: NDArray[np.float32]) -> list[float]:
    """The shortest decimals that give the same float32 back: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in values]


def image_record(image: str, status: str, masks: Masks | None, error: str | None) -> dict[str, Any]:
    """What became of one image, as a dict that JSON can hold: the fields of `ImageRecord`."""
    record = ImageRecord(image, status)
    if masks is not None:
        record.width, record.height, record.masks = masks.width, masks.height, mask_records(masks)
    if error is not None:
        record.error = error
    made: dict[str, Any] = msgspec.to_builtins(record)
    return made


# ------------------------------------------------------------------------------------------- reading


class OpenImage:
    """Where the images are that records name. This one: nowhere but in the record itself, as data: URLs."""

    def image(self, name: str) -> Image:
        """An image by its name or data: URL. Raises ImageError and InputError."""
        from samovar.image import Image, parse_data_url

        if is_data_url(name):
            return Image(parse_data_url(name), name="image")
        raise InputError(f"expected a data: URL; got {name[:40]!r}; send the image itself")

    def mask(self, name: str) -> Any:
        """H×W bool, where the image of that name is not black. Raises ImageError and InputError."""
        return self.image(name).pixels.any(axis=2)


def is_data_url(name: str) -> bool:
    """Whether an image's name is the image itself."""
    return name[:5].lower() == "data:"


def read(value: Any, kind: type[T] | Any, where: str = "", raises: type[InputError] = InputError) -> T:
    """`value`, JSON in bytes or what its parser gave, as `kind`.

    Args:
        where: what the message begins with.

    Raises:
        InputError: or what `raises` says: where it is wrong, what was expected there, what was found and what to do.
    """
    try:
        given: T = msgspec.json.decode(value, type=kind) if isinstance(value, bytes) else msgspec.convert(value, kind)
        return given
    except msgspec.ValidationError as error:
        raise raises(where + _explained(str(error), kind)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise raises(f"{where}expected a JSON object; got something else ({error}); check how it was made") from error
    except RecursionError as error:
        raise raises(f"{where}expected a JSON object; got JSON nested too deep; check how it was made") from error


def prompts_of(items: list[PromptRecord | list[Any]], where: str, images: OpenImage, *, alone: bool = False) -> Prompts:
    """The prompts that records of one image ask for.

    Args:
        where: what the place of a mistake begins with.
        alone: there is one item, which messages need not count.

    Raises:
        PromptError: one line with `where`, the item (counted from 0) and what is wrong with it.
    """
    columns = _columns(items)
    if columns is not None:
        return columns
    places = [f"{where}: "] if alone else [f"{where}: item {index}: " for index in range(len(items))]
    return Prompts.of([_prompt(item, place, images) for item, place in zip(items, places)])


def _columns(items: list[PromptRecord | list[Any]]) -> Prompts | None:
    """Rows, or records of a box alone, straight into columns; None where each item must be looked at by itself.

    That is the case for richer prompts, and for wrong ones, so that the message can name the item.
    """
    try:
        if all(type(item) is list for item in items):
            array = np.array(items)
            if array.dtype.kind in "iuf":
                return Prompts.of(array)
        else:
            rows = [item for item in items if isinstance(item, PromptRecord) and _is_box(item)]
            if len(rows) == len(items):
                boxes = [row.box or [] for row in rows]
                return Prompts.from_boxes(boxes, labels=[row.label for row in rows], ids=[row.id for row in rows])
    except (PromptError, ValueError):
        return None
    return None


def _is_box(item: PromptRecord) -> bool:
    others = (item.points, item.point_labels, item.mask, item.text, item.exemplar)
    return item.box is not None and others == (None,) * 5


def _prompt(item: PromptRecord | list[Any], place: str, images: OpenImage) -> Prompt:
    try:
        if isinstance(item, list):
            if len(item) not in (2, 4):
                expected = "a row must be a box x1 y1 x2 y2 or a point x y"
                raise PromptError(f"{expected}; got {len(item)} entries; write 4 or 2 numbers")
            return Prompt(box=item) if len(item) == 4 else Prompt(points=[item])
        given = {name: value for name in PROMPT_KEYS if (value := getattr(item, name)) is not None}
        if item.mask is not None:
            given["mask"] = _mask(item.mask, images)
        if item.exemplar is not None:
            given["exemplar"] = Exemplar(images.image(item.exemplar.image), _mask(item.exemplar.mask, images))
        return Prompt(**given)
    except (InputError, MaskError, ImageError) as error:
        raise PromptError(f"{place}{error}") from error


def _mask(value: RunLengths | str, images: OpenImage) -> Any:
    if isinstance(value, str):
        return images.mask(value)
    from samovar.masks import Masks

    return Masks.from_coco_rle([msgspec.to_builtins(value)])


# ------------------------------------------------------------------------------------------- mistakes

_KINDS = {
    "object": "an object", "array": "a list", "str": "a string", "bool": "true or false", "null": "null",
    "int": "a whole number", "float": "a number",
}  # fmt: skip
_GOT = {**_KINDS, "int": "a number"}
_ADVICE = {
    "points": "write e.g. [[120, 80]]",
    "box": "write e.g. [12, 30, 410, 380]",
    "mask": "write COCO run lengths or an image",
    "prompts": 'write e.g. [{"box": [12, 30, 410, 380]}]',
    "image": "write what /v1/embed answered, or a data: URL",
}
_WRONG = re.compile(r"^Expected (?P<expected>.*?)(?:, got `(?P<got>\w+)`)?(?: - at `(?P<path>.*)`)?$")
_KEY = re.compile(
    r"^Object (?P<what>contains unknown|missing required) field `(?P<key>.*?)`(?: - at `(?P<path>.*)`)?$", re.DOTALL
)


def _explained(message: str, kind: Any) -> str:
    """A validation error of msgspec as one line of ours: where, what was expected, what was found, what to do.

    A message that is built otherwise than those of today's msgspec is passed on as it is.
    """
    if key := _KEY.match(message):
        name, where = key["key"], _where(key["path"])
        if key["what"] == "missing required":
            return f"{where}expected the key {name!r}; got none; {_ADVICE.get(name, 'add it')}"
        keys = _keys_at(key["path"], kind)
        near = get_close_matches(name, keys, n=1, cutoff=0.5)
        advice = f"did you mean {near[0]}?" if near else "remove it"
        return f"{where}expected the keys {', '.join(keys)}; got {name!r:.60}; {advice}"
    if wrong := _WRONG.match(message):
        names = reversed(re.findall(r"\w+", wrong["path"] or ""))
        otherwise = "see the format's page" if wrong["path"] else 'write e.g. {"box": [12, 30, 410, 380]}'
        advice = next((_ADVICE[name] for name in names if name in _ADVICE), otherwise)
        expected = re.sub(r"`([^`]+)`", lambda found: _kinds(found[1]), wrong["expected"])
        if not wrong["path"]:
            expected = expected.replace("an object", "a JSON object")
        got = f"; got {_GOT.get(wrong['got'], wrong['got'])}" if wrong["got"] else ""
        return f"{_where(wrong['path'])}expected {expected}{got}; {advice}"
    said, _, path = message.partition(" - at `")
    return f"{_where(path.rstrip('`'))}{' '.join(said.split())}; correct it"


def _where(path: str | None) -> str:
    """The place of a mistake before its message: "prompts[0].box: "."""
    return f"{path.removeprefix('$').removeprefix('.')}: " if path and path != "$" else ""


def _keys_at(path: str | None, kind: Any) -> tuple[str, ...]:
    if path and path.endswith("exemplar"):
        return ExemplarRecord.__struct_fields__
    if path in (None, "$") and isinstance(kind, type) and issubclass(kind, Struct):
        return kind.__struct_fields__
    return PROMPT_KEYS


def _kinds(names: str) -> str:
    """`str | null` in words."""
    *first, last = (_KINDS.get(name, name) for name in names.split(" | "))
    return f"{', '.join(first)} or {last}" if first else last
