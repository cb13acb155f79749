"""`DefaultSegmenter`: the embedded segmenter behind `samovar.protocols.Segmenter`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samovar.automatic import AutomaticOptions
from samovar.embedding import Embedding
from samovar.errors import DeviceError, InputError, WeightsError
from samovar.masks import Masks
from samovar.protocols import DecodeOptions

from .answers import Answer, answer
from .cutting import cut_mask
from .encoding import encode_pixels
from .fields import Field, low_res, make_field, plain_field
from .frame import Frame
from .identity import code_digest
from .priors import leaf_prior
from .queries import Query, make_query
from .scene import Scene, open_scene
from .weights import Weights, load_weights

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.prompts import Prompts
    from samovar.types import Kind

__all__ = ["DefaultSegmenter", "load"]

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
        """One embedding an image: its regions, merge trees and candidate objects."""
        return [self._encode(image.pixels) for image in images]

    def _encode(self, pixels: NDArray[np.uint8]) -> Embedding:
        height, width = pixels.shape[:2]
        tensors = encode_pixels(pixels, Frame.of(width, height), self._weights)
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
        frame = Frame.of(width, height)
        return 3 * 8 * width * frame.rows + 40 * frame.cols * frame.rows

    def _decode(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        if embedding.fingerprint != self._fingerprint:
            raise InputError(
                f"expected an embedding of {self._fingerprint}; got {embedding.fingerprint}; encode the image again"
            )
        width, height = embedding.width, embedding.height
        if len(prompts) == 0:
            return Masks.empty(width, height)
        scene = open_scene(embedding.tensors, width, height)
        found = _Found(scene, options)
        for index in range(len(prompts)):
            query = _query(scene, prompts, index)
            clip = _clip(prompts.boxes[index], width, height)
            for one in answer(scene, query, self._weights, options.multimask):
                found.add(index, one, clip)
        return found.masks()


class _Found:
    """Collects the masks of one decode."""

    def __init__(self, scene: Scene, options: DecodeOptions) -> None:
        self._scene = scene
        self._options = options
        self._counts: list[NDArray[np.uint32]] = []
        self._scores: list[float] = []
        self._prompts: list[int] = []
        self._logits: list[NDArray[np.float32]] = []
        self._stability: list[float] = []

    def add(self, prompt: int, one: Answer, clip: tuple[int, int, int, int] | None) -> None:
        """One more mask, cut from its field."""
        threshold = self._options.mask_threshold
        field = make_field(self._scene, one.chance, one.chosen)
        counts = cut_mask(self._scene, field, _sigmoid(threshold), clip)
        if len(counts) == 1:
            field = _not_empty(self._scene, field, one, clip)
            counts = cut_mask(self._scene, field, _sigmoid(threshold), clip)
        self._counts.append(counts)
        self._scores.append(one.score)
        self._prompts.append(prompt)
        if self._options.logits:
            self._logits.append(low_res(self._scene, field))
        offset = self._options.stability_offset
        if offset is not None:
            high, low = (cut_mask(self._scene, field, _sigmoid(threshold + by), clip) for by in (offset, -offset))
            self._stability.append(int(high[1::2].sum()) / max(int(low[1::2].sum()), 1))

    def masks(self) -> Masks:
        """All of them."""
        frame = self._scene.frame
        offsets = np.cumsum([0, *map(len, self._counts)])
        masks = Masks.from_runs(np.concatenate(self._counts), offsets, frame.width, frame.height)
        return masks.replace(
            scores=np.array(self._scores, np.float32),
            prompt_index=np.array(self._prompts, np.int64),
            logits=np.stack(self._logits) if self._logits else None,
            stability=np.array(self._stability, np.float32) if self._stability else None,
        )


def _not_empty(scene: Scene, field: Field, one: Answer, clip: tuple[int, int, int, int] | None) -> Field:
    """The field, or where no half of it is in, as in a box with no chosen leaf, one with the likeliest pixels in."""
    if len(cut_mask(scene, field, 0.5, clip)) > 1:
        return field
    field = plain_field(scene, one.chance, one.chosen, clip)
    for _ in range(20):  # of 0.05: enough to bring any probability above one half
        if len(cut_mask(scene, field, 0.5, clip)) > 1:
            break
        field = replace(field, values=field.values + np.float32(0.05))
    return field


def _sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-min(max(value, -30.0), 30.0))))


def _query(scene: Scene, prompts: Prompts, index: int) -> Query:
    low, high = int(prompts.point_offsets[index]), int(prompts.point_offsets[index + 1])
    box = prompts.boxes[index]
    mask = prompts.masks[index] if prompts.masks else None
    return make_query(
        scene,
        prompts.points[low:high],
        prompts.point_labels[low:high],
        None if np.isnan(box[0]) else box,
        None if mask is None else leaf_prior(scene, mask),
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
