"""`DefaultSegmenter`: the embedded segmenter behind `samovar.protocols.Segmenter`.

Its masks are cut from a smooth probability map over the working frame, read at any image pixel. Superpixel outlines
follow single noisy pixels; a slight blur of the probabilities before thresholding gives the outline that a person would
draw. Pixels of the image read the map bilinearly, so outlines stay smooth at any enlargement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.automatic import AutomaticOptions
from samovar.embedding import Embedding
from samovar.errors import DeviceError, InputError, WeightsError
from samovar.jit import njit
from samovar.masks import Masks
from samovar.protocols import DecodeOptions

from .decoding import Answer, answer
from .encoding import Query, RegionGraph, WorkingFrame, encode_pixels, make_query, mask_prior, open_graph
from .network import Weights, code_digest, load_weights

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.prompts import Prompts
    from samovar.types import Kind

__all__ = ["DefaultSegmenter", "Field", "cut_runs", "load", "low_res", "make_field", "mask_runs", "plain_field"]

_SIGMA = 1.2
_MARGIN = 6
_CERTAIN = 0.005
GRID = 2
"""Working pixels per cell of the low-res logits, along each axis."""


@dataclass(frozen=True)
class Field:
    """Foreground probability on a window of the working frame; 0 elsewhere.

    Attributes:
        values: h×w float32.
        left, top: the window's corner, working pixels.
    """

    values: NDArray[np.float32]
    left: int
    top: int


@njit
def _spread(
    value: NDArray[np.float32], labels: NDArray[np.uint16], left: int, top: int, right: int, bottom: int
) -> NDArray[np.float32]:
    """Every working pixel of a window with its superpixel's value."""
    out = np.empty((bottom - top, right - left), np.float32)
    for y in range(top, bottom):
        for x in range(left, right):
            out[y - top, x - left] = value[labels[y, x]]
    return out


def _agreed(unary: NDArray[np.float32], chosen: NDArray[np.bool_]) -> NDArray[np.float32]:
    return np.where(chosen, np.maximum(unary, np.float32(0.55)), np.minimum(unary, np.float32(0.45)))


def make_field(graph: RegionGraph, unary: NDArray[np.float32], chosen: NDArray[np.bool_]) -> Field:
    """The field of superpixel probabilities `unary` (n), pushed to agree with the `chosen` superpixels (n bool)."""
    agreed = _agreed(unary, chosen)
    if not chosen.any():
        chosen = agreed >= agreed.max()
    boxes = graph.box[chosen]
    left, top = (max(int(v) - _MARGIN, 0) for v in boxes[:, :2].min(axis=0))
    right = min(int(boxes[:, 2].max()) + _MARGIN, graph.frame.cols)
    bottom = min(int(boxes[:, 3].max()) + _MARGIN, graph.frame.rows)
    window = _spread(agreed, graph.labels, left, top, right, bottom)
    values = cv2.GaussianBlur(window, (0, 0), _SIGMA, borderType=cv2.BORDER_REPLICATE)
    return Field(np.asarray(values, np.float32), left, top)


def plain_field(
    graph: RegionGraph, unary: NDArray[np.float32], chosen: NDArray[np.bool_], clip: tuple[int, int, int, int] | None
) -> Field:
    """As `make_field`, without the blur, which superpixels nothing of what is a pixel thin, and only where a clip
    allows.

    Args:
        clip: x1 y1 x2 y2, image pixels.
    """
    frame = graph.frame
    x1, y1, x2, y2 = clip or (0, 0, frame.width, frame.height)
    left, top = max(int(x1 * frame.zoom_x) - 1, 0), max(int(y1 * frame.zoom_y) - 1, 0)
    right, bottom = min(int(x2 * frame.zoom_x) + 2, frame.cols), min(int(y2 * frame.zoom_y) + 2, frame.rows)
    return Field(_spread(_agreed(unary, chosen), graph.labels, left, top, right, bottom), left, top)


def low_res(graph: RegionGraph, field: Field) -> NDArray[np.float32]:
    """The field as logits over the whole image, one cell per GRID×GRID working pixels (float32)."""
    frame = graph.frame
    whole = np.zeros((frame.rows, frame.cols), np.float32)
    h, w = field.values.shape
    whole[field.top : field.top + h, field.left : field.left + w] = field.values
    size = (max(1, -(-frame.cols // GRID)), max(1, -(-frame.rows // GRID)))
    cells = np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32)
    cells = np.clip(cells, _CERTAIN, 1 - _CERTAIN)
    return np.asarray(np.log(cells / (1 - cells)), np.float32)


@njit
def _places(
    start: int, stop: int, zoom: float, corner: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Where the image pixels from `start` to `stop` lie between the working pixels of a window, along one axis.

    Returns:
        How far each is from one working pixel to the next, 0…1; and size+1 numbers: those from first[k] to
        first[k + 1], counted from `start`, lie after working pixel k.
    """
    part = np.empty(stop - start, np.float32)
    first = np.zeros(size + 1, np.int64)
    for i in range(stop - start):
        at = (start + i + 0.5) * zoom - 0.5 - corner
        at = min(max(at, 0.0), size - 1.0)
        base = min(int(at), max(size - 2, 0))
        part[i] = at - base
        first[base + 1] = i + 1
    for k in range(size):
        first[k + 1] = max(first[k + 1], first[k])
    return part, first


@njit
def cut_runs(
    columns: NDArray[np.float32],
    left: int,
    top: int,
    zoom_x: float,
    zoom_y: float,
    threshold: float,
    x1: int,
    y1: int,
    x2: int,
    y2: int,
    width: int,
    height: int,
) -> NDArray[np.uint32]:
    """The column-major run lengths of the image's pixels inside a window at which the field exceeds the threshold.

    Between four working pixels on one side of the threshold everything is on that side: only where an outline passes
    is the field read pixel by pixel.
    """
    cols, rows = columns.shape
    across, first_x = _places(x1, x2, zoom_x, left, cols)
    down, first_y = _places(y1, y2, zoom_y, top, rows)
    cells, step = max(rows - 1, 1), min(rows - 1, 1)
    side = np.empty(rows, np.int8)  # of a working row, at both columns: 0 below, 1 above, 2 one of each
    end = np.empty(cells, np.int64)  # stretches of image rows: where they end, their side, and, if 2, which row's cell
    kind = np.empty(cells, np.int8)
    cell = np.empty(cells, np.int64)
    whole = y1 == 0 and y2 == height
    changes = np.empty(4 * (x2 - x1) + 64, np.int64)
    found, inside = 0, False
    for c in range(max(cols - 1, 1)):
        if first_x[c] == first_x[c + 1]:
            continue
        here, there = columns[c], columns[min(c + 1, cols - 1)]
        for r in range(rows):
            one, other = here[r] > threshold, there[r] > threshold
            side[r] = 2 if one != other else 1 if one else 0
        stretches, r = 0, 0
        while r < cells:
            same = side[r] if side[r] == side[r + step] else np.int8(2)
            cell[stretches], kind[stretches] = r, same
            r += 1
            while same != 2 and r < cells and side[r + step] == same:
                r += 1
            end[stretches] = first_y[r]
            stretches += 1
        for x in range(first_x[c], first_x[c + 1]):
            if found + y2 - y1 + 2 > len(changes):
                longer = np.empty(2 * len(changes) + y2 - y1 + 2, np.int64)
                longer[:found] = changes[:found]
                changes = longer
            share, begin, y = across[x], (x1 + x) * height + y1, 0
            for s in range(stretches):
                if kind[s] != 2:
                    if y < end[s] and inside != (kind[s] == 1):
                        changes[found] = begin + y
                        found += 1
                        inside = not inside
                    y = end[s]
                    continue
                r = cell[s]
                upper = here[r] + (there[r] - here[r]) * share
                lower = here[r + step] + (there[r + step] - here[r + step]) * share
                while y < end[s]:
                    if (upper + (lower - upper) * down[y] > threshold) != inside:
                        changes[found] = begin + y
                        found += 1
                        inside = not inside
                    y += 1
            if inside and not whole:
                changes[found] = begin + y2 - y1
                found += 1
                inside = False
    if inside:
        changes[found] = x2 * height
        found += 1
    if found and changes[found - 1] == width * height:
        found -= 1
    counts = np.empty(found + 1, np.uint32)
    last = 0
    for k in range(found):
        counts[k] = changes[k] - last
        last = changes[k]
    counts[found] = width * height - last
    return counts


def mask_runs(
    graph: RegionGraph, field: Field, threshold: float, clip: tuple[int, int, int, int] | None
) -> NDArray[np.uint32]:
    """The mask where the field exceeds `threshold`: column-major run lengths over the image, background first.

    `clip` is a window x1 y1 x2 y2 of the image outside which the mask is empty.
    """
    frame = graph.frame
    h, w = field.values.shape
    x1, y1 = int(field.left / frame.zoom_x), int(field.top / frame.zoom_y)
    x2 = min(int(np.ceil((field.left + w) / frame.zoom_x)), frame.width)
    y2 = min(int(np.ceil((field.top + h) / frame.zoom_y)), frame.height)
    if clip is not None:
        x1, y1, x2, y2 = max(x1, clip[0]), max(y1, clip[1]), min(x2, clip[2]), min(y2, clip[3])
    if x2 <= x1 or y2 <= y1:
        return np.array([frame.width * frame.height], np.uint32)
    window = x1, y1, x2, y2
    columns = np.ascontiguousarray(field.values.T)
    place = field.left, field.top, frame.zoom_x, frame.zoom_y
    return cut_runs(columns, *place, threshold, *window, frame.width, frame.height)


_KINDS: frozenset[Kind] = frozenset({"points", "box", "mask"})


class DefaultSegmenter:
    """Promptable segmentation by a hierarchy of regions and small fitted classifiers. Stateless and thread-safe.

    Attributes:
        automatic: what `segment_all` starts from. Predicted IoUs are honest rather than confident, so SAM's thresholds
            would leave next to nothing; and every point asks for whole regions, so fewer points find them all.
    """

    automatic = AutomaticOptions(points_per_side=16, pred_iou_thresh=0.5, stability_score_thresh=0.7)

    def __init__(self, weights: Weights | None = None) -> None:
        self._weights = load_weights() if weights is None else weights
        self._fingerprint = f"default-{code_digest()}-{self._weights.digest}"

    @property
    def fingerprint(self) -> str:
        """Names the code and the fitted numbers."""
        return self._fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """Points, boxes and masks, in any combination."""
        return _KINDS

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding an image: its regions, merge trees and proposal objects."""
        return [self._encode(image.pixels) for image in images]

    def _encode(self, pixels: NDArray[np.uint8]) -> Embedding:
        height, width = pixels.shape[:2]
        tensors = encode_pixels(pixels, WorkingFrame.of(width, height), self._weights)
        return Embedding(tensors, width, height, self._fingerprint)

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """One `Masks` an image, best-scored first within each prompt.

        Raises:
            InputError: an embedding of another segmenter.
        """
        return [self._decode(embedding, asked, options) for embedding, asked in zip(embeddings, prompts, strict=True)]

    def decode_bytes(self, width: int, height: int) -> int:
        """The run lengths of three masks that change in every cell of the working frame, and the frame's fields."""
        frame = WorkingFrame.of(width, height)
        return 3 * 8 * width * frame.rows + 40 * frame.cols * frame.rows

    def _decode(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        if embedding.fingerprint != self._fingerprint:
            raise InputError(
                f"expected an embedding of {self._fingerprint}; got {embedding.fingerprint}; encode the image again"
            )
        width, height = embedding.width, embedding.height
        if len(prompts) == 0:
            return Masks.empty(width, height)
        graph = open_graph(embedding.tensors, width, height)
        found = _Found(graph, options)
        for index in range(len(prompts)):
            query = _query(graph, prompts, index)
            clip = _clip(prompts.boxes[index], width, height)
            for one in answer(graph, query, self._weights, options.multimask):
                found.add(index, one, clip)
        return found.masks()


class _Found:
    """Collects the masks of one decode."""

    def __init__(self, graph: RegionGraph, options: DecodeOptions) -> None:
        self._graph = graph
        self._options = options
        self._counts: list[NDArray[np.uint32]] = []
        self._scores: list[float] = []
        self._prompts: list[int] = []
        self._logits: list[NDArray[np.float32]] = []
        self._stability: list[float] = []

    def add(self, prompt: int, one: Answer, clip: tuple[int, int, int, int] | None) -> None:
        """One more mask, cut from its field."""
        threshold = self._options.mask_threshold
        field = make_field(self._graph, one.unary, one.chosen)
        counts = mask_runs(self._graph, field, _sigmoid(threshold), clip)
        if len(counts) == 1:
            field = _not_empty(self._graph, field, one, clip)
            counts = mask_runs(self._graph, field, _sigmoid(threshold), clip)
        self._counts.append(counts)
        self._scores.append(one.score)
        self._prompts.append(prompt)
        if self._options.logits:
            self._logits.append(low_res(self._graph, field))
        offset = self._options.stability_offset
        if offset is not None:
            high, low = (mask_runs(self._graph, field, _sigmoid(threshold + by), clip) for by in (offset, -offset))
            self._stability.append(int(high[1::2].sum()) / max(int(low[1::2].sum()), 1))

    def masks(self) -> Masks:
        """All of them."""
        frame = self._graph.frame
        offsets = np.cumsum([0, *map(len, self._counts)])
        masks = Masks.from_runs(np.concatenate(self._counts), offsets, frame.width, frame.height)
        return masks.replace(
            scores=np.array(self._scores, np.float32),
            prompt_index=np.array(self._prompts, np.int64),
            logits=np.stack(self._logits) if self._logits else None,
            stability=np.array(self._stability, np.float32) if self._stability else None,
        )


def _not_empty(graph: RegionGraph, field: Field, one: Answer, clip: tuple[int, int, int, int] | None) -> Field:
    """The field, or where no half of it is in, as in a box with no chosen superpixel, one with the likeliest pixels
    in.
    """
    if len(mask_runs(graph, field, 0.5, clip)) > 1:
        return field
    field = plain_field(graph, one.unary, one.chosen, clip)
    for _ in range(20):  # of 0.05: enough to bring any probability above one half
        if len(mask_runs(graph, field, 0.5, clip)) > 1:
            break
        field = replace(field, values=field.values + np.float32(0.05))
    return field


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-min(max(value, -30.0), 30.0))))


def _query(graph: RegionGraph, prompts: Prompts, index: int) -> Query:
    low, high = int(prompts.point_offsets[index]), int(prompts.point_offsets[index + 1])
    box = prompts.boxes[index]
    mask = prompts.masks[index] if prompts.masks else None
    return make_query(
        graph,
        prompts.points[low:high],
        prompts.point_labels[low:high],
        None if np.isnan(box[0]) else box,
        None if mask is None else mask_prior(graph, mask),
    )


def _clip(box: NDArray[np.float32], width: int, height: int) -> tuple[int, int, int, int] | None:
    """The image window that a box allows: whole pixels that it touches."""
    if np.isnan(box[0]):
        return None
    x1, y1 = max(int(np.floor(box[0])), 0), max(int(np.floor(box[1])), 0)
    return x1, y1, min(int(np.ceil(box[2])), width), min(int(np.ceil(box[3])), height)


def load(name: str, *, weights: str | None, device: str, dtype: str) -> DefaultSegmenter:
    """The segmenter, as `samovar.load` asks for it.

    Raises:
        DeviceError: asked for anything but the CPU and float32.
        WeightsError: asked for other weights; this model ships its own.
    """
    if weights is not None:
        raise WeightsError(f"{name} ships its own weights; got weights={weights!r}; leave weights out")
    if device not in ("auto", "cpu"):
        raise DeviceError(f"{name} runs on the CPU; got device={device!r}; pass device='cpu'")
    if dtype not in ("auto", "float32"):
        raise DeviceError(f"{name} computes in float32; got dtype={dtype!r}; pass dtype='float32'")
    return DefaultSegmenter()
