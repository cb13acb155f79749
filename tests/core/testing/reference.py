"""A segmenter that keeps every promise, simple enough to read: the suite must pass it, and fail each of its mutants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from samovar import DecodeOptions, Embedding, Image, Masks, Prompt, Prompts, Segmenter
from samovar.errors import InputError
from samovar.fingerprint import Fingerprint, fingerprint_arrays
from samovar.testing import SegmenterTests
from samovar.types import KINDS, Kind

__all__ = ["Reference", "ReferenceTests", "Weighted"]

Plane = NDArray[np.float32]


class Reference:
    """Logits fall with the distance in colour from what the prompt marks; takes every kind of prompt.

    Answers are the same thresholded at three levels. Logits have the image's own size. Its fingerprint is a plain
    string, as those of segmenters written before there were two parts.
    """

    fingerprint: str | Fingerprint = "reference 1"
    prompt_kinds: frozenset[Kind] = frozenset(KINDS)

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        return [self.embedding(image) for image in images]

    def embedding(self, image: Image) -> Embedding:
        pixels = np.array(image.pixels, np.float32)
        tensors = {"pixels": pixels, "grey": pixels.mean(axis=2)}
        return Embedding(tensors, image.width, image.height, self.made_by, frozenset({"pixels"}))

    @property
    def made_by(self) -> str:
        return Fingerprint.of(self.fingerprint).encoder

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        return [self.answer(embedding, part, options) for embedding, part in zip(embeddings, prompts)]

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        if embedding.fingerprint != self.made_by:
            raise InputError(f"expected an embedding of {self.fingerprint}; got one of {embedding.fingerprint}")
        planes, scores, index = [], [], []
        for number, prompt in enumerate(prompts):
            for plane, score in self.readings(embedding, prompt)[: 3 if options.multimask else 1]:
                planes.append(plane)
                scores.append(score)
                index.append(number)
        logits = np.array(planes, np.float32).reshape(-1, embedding.height, embedding.width)
        masks = Masks.from_array(logits > options.mask_threshold).replace(
            scores=np.array(scores, np.float32), prompt_index=np.array(index, np.int64)
        )
        if options.logits:
            masks = masks.replace(logits=logits)
        if options.stability_offset is not None:
            masks = masks.replace(stability=stability(logits, options.mask_threshold, options.stability_offset))
        return masks

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        """Logits and score of up to three answers, best first."""
        pixels = embedding.tensors["pixels"]
        marked = self.marked(pixels, prompt)
        colour = pixels[marked].mean(axis=0) if marked.any() else pixels.mean(axis=(0, 1))
        distance = np.linalg.norm(pixels - colour, axis=2)
        around = 4.0 if prompt.box is None else np.where(self.inside(pixels, prompt.box), 4.0, -20.0)
        plane: Plane = (around - distance / 10).astype(np.float32)
        return [(plane + np.float32(level), 0.9 - 0.1 * i) for i, level in enumerate((0, 2, -2))]

    def marked(self, pixels: Plane, prompt: Prompt) -> NDArray[np.bool_]:
        """H×W: the pixels whose colour is meant."""
        height, width = pixels.shape[:2]
        marked = np.zeros((height, width), bool)
        if prompt.points is not None and prompt.point_labels is not None:
            for x, y in prompt.points[prompt.point_labels == 1]:
                marked[min(int(y), height - 1), min(int(x), width - 1)] = True
        if prompt.box is not None and not marked.any():
            marked |= self.inside(pixels, prompt.box)
        if isinstance(prompt.mask, Masks):
            marked |= prompt.mask.to_array()[0]
        elif prompt.mask is not None:
            marked |= prompt.mask > 0
        if prompt.text == "background":
            marked |= pixels.mean(axis=2) < pixels.mean()
        return marked

    def inside(self, pixels: Plane, box: Plane) -> NDArray[np.bool_]:
        x, y = np.arange(pixels.shape[1]) + 0.5, np.arange(pixels.shape[0])[:, None] + 0.5
        inside: NDArray[np.bool_] = (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])
        return inside

    def decode_bytes(self, width: int, height: int) -> int:
        return 32 * width * height


class Weighted(Reference):
    """A reference with a weight in each stage, read from a file, and a fingerprint of two parts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with np.load(path) as weights:
            self.gain, self.shift = weights["gain"], weights["shift"]

    @property
    def fingerprint(self) -> Fingerprint:  # type: ignore[override]
        return Fingerprint(fingerprint_arrays({"gain": self.gain}), fingerprint_arrays({"shift": self.shift}))

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        return replace(made, tensors={name: tensor * self.gain for name, tensor in made.tensors.items()})

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        return [(plane + self.shift, score) for plane, score in super().readings(embedding, prompt)]


class ReferenceTests(SegmenterTests):
    """The suite for a class of `Weighted`; `Reference` itself has no weights."""

    model: ClassVar[type[Weighted] | None] = None

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> Segmenter | None:
        if self.model is None:
            return None
        with path.open("wb") as file:
            np.savez(file, gain=np.float32(1 + encoder / 10), shift=np.float32(decoder / 10))
        return self.model(path)


def stability(logits: Plane, threshold: float, offset: float) -> Plane:
    """IoU of each plane thresholded `offset` above and below `threshold`. N float32."""
    high = (logits > threshold + offset).sum(axis=(1, 2))
    low = (logits > threshold - offset).sum(axis=(1, 2))
    return np.where(low == 0, 1.0, high / np.maximum(low, 1)).astype(np.float32)
