"""Masks as what Label Studio draws: regions of any kind, in percent of an image, and brush masks packed bit by bit."""

from __future__ import annotations

import base64
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import ImageError, MaskError, PromptError
from samovar.image import parse_data_url
from samovar.jit import njit
from samovar.masks import Masks
from samovar_adapters.formats import deepest, with_slits
from samovar_adapters.label_studio.config import KINDS, Control

__all__ = [
    "ImageSize",
    "decode_bitmask",
    "decode_brush",
    "draw_something",
    "ellipse_of",
    "encode_bitmask",
    "encode_brush",
    "regions",
]

POINT_WIDTH = 0.5
"""Of key points, in percent."""

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class ImageSize:
    """One image's size in pixels. Label Studio's percentages are of these, x of the width and y of the height.

    That holds for an image that the annotator has turned, too: `image_rotation` says how it was shown, and what is
    drawn on it comes in the frame of the image as it is stored.
    """

    width: int
    height: int

    def point(self, value: Mapping[str, Any]) -> tuple[float, float]:
        """`x` and `y` in pixels, at most at the image's edge. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        return min(max(x, 0.0), float(self.width)), min(max(y, 0.0), float(self.height))

    def rectangle(self, value: Mapping[str, Any]) -> Pixels:
        """4×2 corners in pixels, clockwise from the first, which is what `rotation` turns about. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        width, height = self._x(value, "width"), self._y(value, "height")
        angle = math.radians(_number(value, "rotation", 0.0))
        along, down = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        corners: Pixels = np.stack([0 * along, width * along, width * along + height * down, height * down])
        corners += (x, y)
        return corners

    def ellipse(self, value: Mapping[str, Any], points: int = 64) -> Pixels:
        """K×2 points along it, in pixels. Raises PromptError."""
        x, y = self._x(value, "x"), self._y(value, "y")
        across, down = self._x(value, "radiusX"), self._y(value, "radiusY")
        turn = math.radians(_number(value, "rotation", 0.0))
        at = np.linspace(0, 2 * math.pi, points, endpoint=False)
        flat = np.stack([across * np.cos(at), down * np.sin(at)], axis=1)
        rotation = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        turned: Pixels = np.array([x, y]) + flat @ rotation
        return turned

    def polygon(self, value: Mapping[str, Any]) -> Pixels:
        """K×2 points in pixels. Raises PromptError for fewer than 3."""
        try:
            points = np.asarray(value.get("points"), float)
        except (TypeError, ValueError, OverflowError):
            points = np.zeros(0)
        if points.ndim != 2 or points.shape[1] != 2 or len(points) < 3 or not np.isfinite(points).all():
            raise PromptError(f"points must be at least 3 of [x, y]; got {value.get('points')!r:.60}")
        return points * (self.width / 100, self.height / 100)

    def percent(self, points: ArrayLike) -> NDArray[np.float64]:
        """N×2 pixels as percentages."""
        scaled: NDArray[np.float64] = np.asarray(points, float) * (100 / self.width, 100 / self.height)
        return scaled

    def _x(self, value: Mapping[str, Any], name: str) -> float:
        return _number(value, name) * self.width / 100

    def _y(self, value: Mapping[str, Any], name: str) -> float:
        return _number(value, name) * self.height / 100


def _number(value: Mapping[str, Any], name: str, default: float | None = None) -> float:
    given = value.get(name, default)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not abs(given) < math.inf:
        raise PromptError(f"{name} must be a finite number; got {given!r:.60}")
    if abs(given) > 1e6:
        raise PromptError(f"{name} must be a percentage or an angle; got {given!r:.60}")
    return float(given)


def regions(
    mask: Masks,
    control: Control,
    *,
    labels: Sequence[str] = (),
    tolerance: float = 1.0,
    rotation: int = 0,
    item: int | None = None,
) -> list[dict[str, Any]]:
    """The one mask as results of `control`: one region, or, for polygons, one for every part. None for an empty mask.

    Where a `Labels` tag names the regions, a second result with the same id says so.

    Args:
        mask: its score goes along.
        labels: of the region.
        tolerance: pixels that a polygon's outline may move to have fewer points.
        rotation: how the image is turned in the editor (`image_rotation`), which the answer has to repeat.
        item: which of the images of a tag with several it is on (`item_index`).
    """
    if not mask.areas[0]:
        return []
    own = control.type.endswith("labels")
    found = []
    for value in _values(mask, control, ImageSize(mask.width, mask.height), tolerance):
        one = {
            "id": uuid.uuid4().hex[:10],
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.type,
            "original_width": mask.width,
            "original_height": mask.height,
            "image_rotation": rotation,
            "score": round(float(mask.scores[0]), 4),
            "value": {**value, control.type: list(labels)} if own and labels else value,
            **({} if item is None else {"item_index": item}),
        }
        found.append(one)
        if control.labelled_by is not None and labels:
            named = {"from_name": control.labelled_by, "type": "labels", "value": {**value, "labels": list(labels)}}
            found.append({**one, **named})
    return found


def draw_something() -> None:
    """A region of every kind, for what is compiled on first use."""
    drawn = np.zeros((1, 16, 16), np.bool_)
    drawn[:, 4:12, 4:12] = True
    for kind in KINDS:
        regions(Masks.from_array(drawn), Control("", "", kind, kind))


def _values(mask: Masks, control: Control, size: ImageSize, tolerance: float) -> Iterator[dict[str, Any]]:
    if control.kind == "brush":
        yield {"format": "rle", "rle": encode_brush(mask)}
    elif control.kind == "bitmask":
        yield {"imageDataURL": encode_bitmask(mask)}
    elif control.kind == "polygon":
        for polygon in mask.to_polygons(tolerance)[0]:
            # Label Studio's polygons have no holes: a slit of no width leads to each.
            yield {"points": size.percent(with_slits(polygon)).tolist(), "closed": True}
    elif control.kind == "rectangle":
        yield _turned_rectangle(mask, size) if control.rotates and _is_slanted(mask) else _rectangle(mask, size)
    elif control.kind == "ellipse":
        yield _ellipse(mask, size)
    else:
        ((x, y),) = size.percent([deepest(mask)]).tolist()
        yield {"x": x, "y": y, "width": POINT_WIDTH}


def _rectangle(mask: Masks, size: ImageSize) -> dict[str, Any]:
    (x1, y1), (x2, y2) = size.percent(mask.boxes[0].reshape(2, 2)).tolist()
    return {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}


def _is_slanted(mask: Masks) -> bool:
    """Whether a turned rectangle fits clearly better: by a fifth less area than the upright one."""
    x1, y1, x2, y2 = mask.boxes[0].tolist()
    _, _, width, height, angle = mask.rotated_boxes()[0].tolist()
    return bool(angle) and width * height < 0.8 * (x2 - x1) * (y2 - y1)


def _turned_rectangle(mask: Masks, size: ImageSize) -> dict[str, Any]:
    cx, cy, width, height, angle = mask.rotated_boxes()[0].tolist()
    turn = math.radians(angle)
    along, down = np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])
    ((x, y),) = size.percent([np.array([cx, cy]) - along * width / 2 - down * height / 2]).tolist()
    sides = {"width": width * 100 / size.width, "height": height * 100 / size.height}
    return {"x": x, "y": y, **sides, "rotation": angle}


def _ellipse(mask: Masks, size: ImageSize) -> dict[str, Any]:
    cx, cy, across, down, angle = ellipse_of(mask).tolist()
    ((x, y),) = size.percent([(cx, cy)]).tolist()
    return {
        "x": x,
        "y": y,
        "radiusX": across * 100 / size.width,
        "radiusY": down * 100 / size.height,
        "rotation": angle,
    }


def ellipse_of(mask: Masks) -> NDArray[np.float64]:
    """Centre x, y, radii along and across its axis in pixels, and the axis' angle (degrees, clockwise on the screen).

    The filled ellipse that has the mask's centre of gravity and second moments.
    """
    crop, left, top = next(mask.crops())
    y, x = np.nonzero(crop)
    points = np.stack([x + left + 0.5, y + top + 0.5])
    centre = points.mean(axis=1)
    spread = np.cov(points, bias=True).reshape(2, 2) + np.eye(2) / 12  # a pixel is a square, not its centre
    values, axes = np.linalg.eigh(spread)
    angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1])) % 180
    return np.array([*centre, 2 * math.sqrt(values[1]), 2 * math.sqrt(values[0]), angle])


def encode_bitmask(mask: Masks) -> str:
    """The one mask as Label Studio wants it in `value.imageDataURL`: a PNG, black where it is and clear elsewhere."""
    pixels = np.zeros((mask.height, mask.width, 4), np.uint8)
    pixels[:, :, 3] = mask.to_array()[0] * np.uint8(255)
    data = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def decode_bitmask(url: Any, width: int, height: int) -> Masks:
    """The mask in Label Studio's `value.imageDataURL`, of a `width`×`height` image; any alpha but 0 is foreground.

    Raises:
        MaskError: no PNG with transparency, or not of an image of that size.
    """
    try:
        pixels = cv2.imdecode(np.frombuffer(parse_data_url(str(url)), np.uint8), cv2.IMREAD_UNCHANGED)
    except (ImageError, cv2.error):
        pixels = None
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise MaskError(f"a bitmask's imageDataURL must be a PNG with transparency; got {str(url)[:60]}")
    if pixels.shape[:2] != (height, width):
        raise MaskError(f"a bitmask is of {pixels.shape[1]}×{pixels.shape[0]} pixels; the image has {width}×{height}")
    return Masks.from_array(pixels[None, :, :, 3])


# ------------------------------------------------------------------------------------------------- brush masks
#
# RGBA images packed as runs of bytes, bit by bit (the format of @thi.ng/rle-pack). A header of 53 bits (number of
# values, 32; bits a value less one, 5; four sizes less one, 4 each), then records: one bit that says run or literals,
# two that choose one of the sizes, the length less one in that many bits, and the value or values. Values are the bytes
# of a row-major RGBA image of which only the alpha channel says anything.

_SIZES = (3, 4, 8, 16)
_HEADER = 53
_CHANNELS = 4
_LONGEST = 1 << _SIZES[-1]
_RECORD = 3 + _SIZES[-1] + 8  # bits of a run, at most
_TORN, _MORE = 1, 2


def encode_brush(mask: Masks) -> list[int]:
    """The one mask as Label Studio wants it in `value.rle`: bytes. Raises MaskError unless there is exactly one."""
    if len(mask) != 1:
        raise MaskError(f"a brush region is one mask; got {len(mask)}; index them")
    pixels = mask.width * mask.height
    edges = _row_edges(mask.runs.counts.astype(np.int64), mask.width, mask.height)
    header = pixels * _CHANNELS << 5 | 7
    for size in _SIZES:
        header = header << 4 | size - 1
    packed: list[int] = _packed(edges, pixels, header).tolist()
    return packed


def decode_brush(rle: Sequence[int], width: int, height: int) -> Masks:
    """The mask in Label Studio's `value.rle`, of a `width`×`height` image; any alpha but 0 is foreground.

    Raises:
        MaskError: torn, or not of an image of that size.
    """
    try:
        packed = np.array(rle, dtype=np.uint8) if len(rle) else np.zeros(0, np.uint8)
    except (TypeError, ValueError, OverflowError) as error:
        raise MaskError(f"a brush region's rle must be a list of bytes; got {str(rle)[:60]}") from error
    if packed.ndim != 1:
        raise MaskError(f"a brush region's rle must be a list of bytes; got {packed.ndim} dimensions")
    torn = MaskError("a brush region's rle ends in the middle; send all of it")
    if 8 * len(packed) < _HEADER:
        raise torn
    fields = int.from_bytes(packed[:7].tobytes(), "big") >> 7 * 8 - _HEADER
    values, size = fields >> 21, (fields >> 16 & 31) + 1
    if values != width * height * _CHANNELS:
        raise MaskError(f"a brush region's rle is of {values // _CHANNELS} pixels; the image has {width * height}")
    if size != 8:
        raise MaskError(f"a brush region's rle must have 8 bits a value; got {size}")
    sizes = np.array([(fields >> shift & 15) + 1 for shift in (12, 8, 4, 0)])
    shown, trouble = _unpacked(packed, width * height, sizes)
    if trouble == _TORN:
        raise torn
    if trouble == _MORE:
        raise MaskError("a brush region's rle holds more than its image")
    return Masks.from_array(shown.reshape(1, height, width))


@njit
def _row_edges(counts: NDArray[np.int64], width: int, height: int) -> NDArray[np.int64]:
    """The row-major positions at which a mask's value changes, sorted, from its column-major run lengths.

    Inside a row that is wherever two neighbouring columns differ; a column is the rows at which its value changes.
    """
    most = 2 * len(counts) + 2 * width + 2
    at = np.empty(most, np.int64)  # a stretch of rows that differ: its column, its first row, the row after it
    low, high = np.empty(most, np.int64), np.empty(most, np.int64)
    found = 0
    left, right = np.empty(height + 2, np.int64), np.empty(height + 2, np.int64)
    lefts = 0
    run, place = 0, counts[0]  # the next change, column-major
    last = len(counts) - 1
    for x in range(width + 1):
        rights = 0
        if x < width:
            if run % 2 == 1:
                right[0] = 0
                rights = 1
            while run < last and place < (x + 1) * height:
                row = place - x * height
                if row == 0 and rights == 1:  # what came in from the column before ends at once
                    rights = 0
                else:
                    right[rights] = row
                    rights += 1
                run += 1
                place += counts[run]
            if rights % 2 == 1:
                right[rights] = height
                rights += 1
        i, j, inside = 0, 0, False
        while i < lefts or j < rights:
            if i < lefts and j < rights and left[i] == right[j]:
                i += 1
                j += 1
                continue
            if j == rights or (i < lefts and left[i] < right[j]):
                row = left[i]
                i += 1
            else:
                row = right[j]
                j += 1
            if inside:
                high[found] = row
                found += 1
            else:
                at[found], low[found] = x, row
            inside = not inside
        left, right = right, left
        lefts = rights
    starts = np.zeros(height + 1, np.int64)
    for k in range(found):
        for row in range(low[k], high[k]):
            starts[row + 1] += 1
    for row in range(height):
        starts[row + 1] += starts[row]
    edges = np.empty(starts[height], np.int64)
    for k in range(found):
        for row in range(low[k], high[k]):
            edges[starts[row]] = row * width + at[k]
            starts[row] += 1
    kept = 0
    for edge in edges:
        if kept and edges[kept - 1] == edge:  # it ends with its row, and begins with the next
            kept -= 1
        else:
            edges[kept] = edge
            kept += 1
    return edges[:kept]


@njit
def _packed(edges: NDArray[np.int64], pixels: int, header: int) -> NDArray[np.uint8]:
    """The header's bits, and a record of the kind "run" for every run between `edges`."""
    records = len(edges) + 1 + pixels * _CHANNELS // _LONGEST
    out = np.zeros((_HEADER + _RECORD * records) // 8 + 1, np.uint8)
    held, bits, size = header, _HEADER, 0  # bits that wait for their byte to be full
    begun, value = 0, 0
    for k in range(len(edges) + 1):
        end = edges[k] if k < len(edges) else pixels
        left = (end - begun) * _CHANNELS
        while left > 0:
            while bits >= 8:
                bits -= 8
                out[size] = held >> bits
                held &= (1 << bits) - 1
                size += 1
            length = min(left, _LONGEST)
            which = 0
            while length > 1 << _SIZES[which]:
                which += 1
            held = ((held << 3 | 4 | which) << _SIZES[which] | (length - 1)) << 8 | value
            bits += 3 + _SIZES[which] + 8
            left -= length
        begun, value = end, 255 - value
    while bits > 0:
        out[size] = held >> (bits - 8) if bits >= 8 else held << (8 - bits)
        bits -= 8
        held &= (1 << max(bits, 0)) - 1
        size += 1
    return out[:size]


@njit
def _read(packed: NDArray[np.uint8], at: int, count: int) -> int:
    """The number in a few bits; all of them must be there."""
    value = 0
    for k in range(at >> 3, (at + count + 7) >> 3):
        value = value << 8 | packed[k]
    return value >> (-(at + count) & 7) & ((1 << count) - 1)


@njit
def _unpacked(packed: NDArray[np.uint8], pixels: int, sizes: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """Whether each pixel shows at all, and what is wrong: 0, _TORN or _MORE."""
    shown = np.zeros(pixels, np.bool_)
    at, bits = _HEADER, 8 * len(packed)
    done, values = 0, pixels * _CHANNELS
    while done < values:
        if at + 3 > bits:
            return shown, _TORN
        is_run, size = _read(packed, at, 1) == 1, sizes[_read(packed, at + 1, 2)]
        at += 3
        if at + size > bits:
            return shown, _TORN
        length = _read(packed, at, size) + 1
        at += size
        if done + length > values:
            return shown, _MORE
        if at + (8 if is_run else 8 * length) > bits:
            return shown, _TORN
        first, after = done // _CHANNELS, (done + length) // _CHANNELS  # pixels whose last channel is among these
        if is_run:
            shown[first:after] = _read(packed, at, 8) > 0
            at += 8
        else:
            for pixel in range(first, after):
                shown[pixel] = _read(packed, at + 8 * (pixel * _CHANNELS + _CHANNELS - 1 - done), 8) > 0
            at += 8 * length
        done += length
    return shown, 0
