"""`Sam3Segmenter`: prompts that show where through the tracker's head, prompts that say what through the detector."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from samovar.embedding import Embedding
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions, EmbeddingCache
from samovar.tracking import Tracker
from samovar.types import Kind
from samovar_plugins.sam3.detector import Detector
from samovar_plugins.toolkit import Interpolation, SamSegmenter, direct, outline

__all__ = ["Sam3Segmenter"]


@final
class Sam3Segmenter:
    """SAM 3 as a `Segmenter`.

    Points, boxes and masks are answered as SAM 2 does. A prompt with text is answered with every instance of what the
    text names, best first, each with its score; its box, if it has one, is an example of what is meant, and points or
    a mask are too, by the box around what they show.

    Args:
        visual: answers points, boxes and masks; its embeddings have "trunk".
        detector: answers text.
        memory: makes a tracker of the same weights; see `samovar.tracking.VideoSegmenter`.
    """

    def __init__(
        self, visual: SamSegmenter, detector: Detector, memory: Callable[[EmbeddingCache | None], Tracker]
    ) -> None:
        self.visual = visual
        self._memory = memory
        self._detector = detector
        # The detector's features of the last image: a memo, replaced as a whole, so that threads only ever miss.
        self._last: tuple[weakref.ref[Embedding], Any] | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """Identifies weights, configuration, preprocessing and dtype."""
        return self.visual.fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """Points, boxes, masks and text."""
        return self.visual.prompt_kinds | {"text"}

    @property
    def device(self) -> str:
        """Where it runs."""
        return self.visual.device

    def tracker(self, cache: EmbeddingCache | None = None) -> Tracker:
        """A new tracker. What its model has besides the encoder is loaded each time."""
        return self._memory(cache)

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding an image."""
        return self.visual.encode(images)

    def logits_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """See `samovar.protocols.PlacesLogits`; those of texts lie there too."""
        return self.visual.logits_box(width, height)

    def decode_bytes(self, width: int, height: int) -> int:
        """Of one more prompt; texts are answered one after another, in buffers that do not grow with their number."""
        return self.visual.decode_bytes(width, height)

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """See `Segmenter`; a prompt with text may have any number of masks.

        Raises:
            InputError: an embedding of another segmenter.
            PromptError: a text that is too long, or mask logits of another model's shape.
            WeightsError: a text, where the weights came without their tokenizer.
        """
        return [self._decode(*pair, options) for pair in zip(embeddings, prompts)]

    def _decode(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        rows = list(prompts) if prompts.texts else []
        named = [i for i, row in enumerate(rows) if row.text is not None]
        if not named:
            return self.visual.decode([embedding], [prompts], options)[0]
        shown = [i for i in range(len(rows)) if rows[i].text is None]
        (masks,) = self.visual.decode([embedding], [Prompts.of([rows[i] for i in shown])], options)
        parts = [masks.replace(prompt_index=np.array(shown, np.int64)[masks.prompt_index])]
        parts += [self._instances(embedding, rows[i], options, i) for i in named]
        # SamComponents without masks have no columns either, and would cost the others theirs.
        masks = Masks.concat([part for part in parts if len(part)] or parts[:1])
        return masks[np.argsort(masks.prompt_index, kind="stable")]

    def _instances(self, embedding: Embedding, prompt: Prompt, options: DecodeOptions, index: int) -> Masks:
        """Every instance of what a prompt with text names."""
        width, height = embedding.width, embedding.height
        box = self._example(embedding, prompt)
        with torch.inference_mode():
            boxes = None if box is None else _relative(box, width, height)
            found = self._detector.find(self._features(embedding), prompt.text, boxes)
            logits = np.ascontiguousarray(found.logits.cpu().numpy())
            shares = found.logits.sigmoid().cpu().numpy()
        if not len(logits):
            return Masks.empty(width, height)
        # The published post-processing enlarges probabilities, not logits.
        interpolation = direct((logits.shape[1], logits.shape[2]), (height, width))
        outlines = outline(shares, interpolation, _probability(options.mask_threshold))
        return Masks.from_runs(outlines.counts, outlines.offsets, width, height).replace(
            scores=found.scores.cpu().numpy(),
            prompt_index=np.full(len(logits), index),
            logits=logits if options.logits else None,
            stability=None if options.stability_offset is None else _stability(shares, interpolation, options),
        )

    def _example(self, embedding: Embedding, prompt: Prompt) -> NDArray[np.float32] | None:
        """The box of the example that a prompt gives beside its text, or None."""
        if prompt.points is None and prompt.mask is None:
            return prompt.box
        (shown,) = self.visual.decode([embedding], [Prompts.of([replace(prompt, text=None)])], DecodeOptions())
        return shown.boxes[0] if shown.areas[0] else None

    def _features(self, embedding: Embedding) -> Any:
        last = self._last
        if last is not None and last[0]() is embedding:
            return last[1]
        features = self._detector.features(self.visual.tensor(embedding, "trunk"))
        self._last = weakref.ref(embedding), features
        return features


def _relative(box: NDArray[np.float32], width: int, height: int) -> torch.Tensor:
    """1×4 float32: centre and size in [0, 1] of the part of a box that lies on the image."""
    x1, x2 = (min(max(float(x), 0.0), width) / width for x in box[[0, 2]])
    y1, y2 = (min(max(float(y), 0.0), height) / height for y in box[[1, 3]])
    return torch.tensor([[(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]], dtype=torch.float32)


def _probability(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _stability(
    shares: NDArray[np.float32], interpolation: Interpolation, options: DecodeOptions
) -> NDArray[np.float32]:
    """IoU of each mask at the higher threshold with that at the lower one."""
    offset, middle = options.stability_offset or 0.0, options.mask_threshold
    inner, outer = (outline(shares, interpolation, _probability(middle + by)).areas for by in (offset, -offset))
    return np.asarray(inner / np.maximum(outer, 1), np.float32)
