"""Segmenters, sources and sinks that are simple enough to predict, for tests of the plumbing around real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

import numpy as np

from samovar import DecodeOptions, Embedding, Image, Masks, Prompts
from samovar.types import Kind

__all__ = ["FilledBoxes", "ListSink", "WordBoxes"]


class FilledBoxes:
    """Answers a box with the filled box and a point with a square of side 20 around it; counts its encodes.

    Its one tensor is the image's mean colour, so that an embedding can be told from another image's. Scores are the
    first channel of that mean over 255. With multimask it also answers the left half.
    """

    fingerprint = "filled-boxes-1"
    prompt_kinds: frozenset[Kind] = frozenset({"points", "box"})

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.decoded: list[list[int]] = []
        self._lock = threading.Lock()

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        with self._lock:
            self.encoded += [image.name for image in images]
        return [
            Embedding({"mean": image.pixels.mean(axis=(0, 1))}, image.width, image.height, self.fingerprint)
            for image in images
        ]

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        with self._lock:
            self.decoded.append([len(part) for part in prompts])
        return [self._answer(embedding, part, options) for embedding, part in zip(embeddings, prompts)]

    def _answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        crops, origins, index = [], [], []
        for i, prompt in enumerate(prompts):
            x1, y1, x2, y2 = self._box(prompt.box, prompt.points, embedding)
            for right in (x2, (x1 + x2 + 1) // 2)[: 2 if options.multimask else 1]:
                crops.append(np.ones((y2 - y1, right - x1), bool))
                origins.append((x1, y1))
                index.append(i)
        score = float(embedding.tensors["mean"][0]) / 255
        masks = Masks.from_crops(crops, origins, embedding.width, embedding.height)
        return masks.replace(
            scores=np.full(len(crops), score, np.float32),
            prompt_index=np.array(index, np.int64),
            stability=None if options.stability_offset is None else np.ones(len(crops), np.float32),
        )

    @staticmethod
    def _box(box: np.ndarray | None, points: np.ndarray | None, embedding: Embedding) -> tuple[int, int, int, int]:
        if box is None:
            assert points is not None
            x, y = points[0]
            box = np.array([x - 10, y - 10, x + 10, y + 10])
        limit = [embedding.width, embedding.height] * 2
        x1, y1, x2, y2 = (int(np.clip(round(float(v)), 0, most)) for v, most in zip(box, limit))
        return x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)

    def decode_bytes(self, width: int, height: int) -> int:
        return width * height


class WordBoxes:
    """A grounder whose every word is a box: "left" and "right" halves; "both" gives the two."""

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return [self._answer(image, row) for image, row in zip(images, requests or [])]

    @staticmethod
    def _answer(image: Image, row: Prompts) -> Prompts:
        middle = image.width / 2
        left, right = [0.0, 0, middle, image.height], [middle, 0, image.width, image.height]
        found: dict[str | None, list[list[float]]] = {"left": [left], "right": [right], "both": [left, right]}
        boxes = found.get(row.texts[0], [])
        return Prompts.from_boxes(boxes, labels=row.labels * len(boxes), ids=row.ids * len(boxes))


class ListSink:
    """Keeps what it is given in a list."""

    def __init__(self, done: Iterable[str] = ()) -> None:
        self.written: list[tuple[str, Masks]] = []
        self.closed = False
        self._done = list(done)

    def done(self) -> Iterable[str]:
        return self._done

    def write(self, key: str, image: Image, masks: Masks) -> None:
        self.written.append((key, masks))

    def close(self) -> None:
        self.closed = True
