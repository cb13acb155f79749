"""The segmenter: `encode` keeps the grey image, `decode` thresholds it around each prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from samovar import DecodeOptions, Embedding, Fingerprint, Image, Masks, Prompt, Prompts
from samovar.errors import InputError

from samovar_threshold.otsu import separation


def load(name: str, *, weights: str | None, device: str, dtype: str) -> ThresholdSegmenter:
    """What the spec's `target` names. There are no weights to load and nothing to run on a GPU."""
    return ThresholdSegmenter()


class Answer(NamedTuple):
    """One mask inside a window of the image."""

    logits: NDArray[np.float32]  # h×w, grey levels beyond the threshold
    origin: tuple[int, int]  # x, y of the window's top left pixel
    seeds: list[tuple[int, int]]  # x, y in the window; the mask is what hangs together with one of them, if any
    score: float


class ThresholdSegmenter:
    """Answers a box or points with what is darker, or lighter, than its surroundings. Keeps nothing between calls."""

    fingerprint = Fingerprint(encoder="grey 1", decoder="otsu 1")
    prompt_kinds = frozenset({"points", "box"})

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        return [
            Embedding(
                {"grey": cv2.cvtColor(image.pixels, cv2.COLOR_RGB2GRAY)},
                image.width,
                image.height,
                self.fingerprint.encoder,
            )
            for image in images
        ]

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        return [self._answer(embedding, part, options) for embedding, part in zip(embeddings, prompts)]

    def decode_bytes(self, width: int, height: int) -> int:
        return 32 * width * height

    def _answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        if embedding.fingerprint != self.fingerprint.encoder:
            raise InputError(f"expected an embedding made by {self.fingerprint}; got one by {embedding.fingerprint}")
        answers, prompt_index = [], []
        for index, prompt in enumerate(prompts):
            readings = _readings(embedding.tensors["grey"], prompt)[: 3 if options.multimask else 1]
            answers += readings
            prompt_index += [index] * len(readings)
        masks = Masks.from_crops(
            [_mask(answer, options.mask_threshold) for answer in answers],
            np.array([answer.origin for answer in answers], int).reshape(-1, 2),
            embedding.width,
            embedding.height,
        ).replace(scores=[answer.score for answer in answers], prompt_index=prompt_index)
        if options.stability_offset is None:
            return masks
        return masks.replace(
            stability=[_stability(answer, options.mask_threshold, options.stability_offset) for answer in answers]
        )


def _readings(grey: NDArray[np.uint8], prompt: Prompt) -> list[Answer]:
    """Up to three answers, best first: Otsu's threshold, and one between it and the mean of either side."""
    x1, y1, x2, y2 = _window(grey, prompt)
    window = grey[y1:y2, x1:x2]
    quality = separation(window)
    best = int(quality.argmax())
    if quality[best] == 0:  # flat: all of it
        return [Answer(np.full(window.shape, 0.5, np.float32), (x1, y1), [], 0.0)]
    light = _wants_light(window, best + 0.5, prompt, (x1, y1))
    low, high = window[window <= best].mean(), window[window > best].mean()
    levels = dict.fromkeys([best, int((best + low) / 2), int((best + high) / 2)])
    answers = []
    for level in sorted(levels, key=lambda level: -quality[level]):
        beyond = window.astype(np.float32) - (level + 0.5)
        logits = beyond if light else -beyond
        answers.append(Answer(logits, (x1, y1), _seeds(window, prompt, (x1, y1)), float(quality[level])))
    return answers


def _window(grey: NDArray[np.uint8], prompt: Prompt) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2: the box, or the surroundings of the points; at least one pixel."""
    height, width = grey.shape
    x1, y1, x2, y2 = (0, 0, width, height) if prompt.box is None else prompt.box
    if prompt.box is None and prompt.points is not None:
        margin = max(width, height) / 4
        (x1, y1), (x2, y2) = prompt.points.min(axis=0) - margin, prompt.points.max(axis=0) + margin
    left, top = int(np.clip(x1, 0, width - 1)), int(np.clip(y1, 0, height - 1))
    right, bottom = int(np.clip(np.ceil(x2), left + 1, width)), int(np.clip(np.ceil(y2), top + 1, height))
    return left, top, right, bottom


def _wants_light(window: NDArray[np.uint8], threshold: float, prompt: Prompt, origin: tuple[int, int]) -> bool:
    """Which side of the threshold is meant: the points' own, or else the one that is rarer along the box's edge."""
    if prompt.points is not None and prompt.point_labels is not None:
        light = [bool(window[y, x] > threshold) for x, y in _places(window, prompt.points, origin)]
        votes = [side == bool(label) for side, label in zip(light, prompt.point_labels)]
        return 2 * sum(votes) >= len(votes)
    edge = np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]])
    return 2 * int(np.count_nonzero(edge > threshold)) < len(edge)


def _seeds(window: NDArray[np.uint8], prompt: Prompt, origin: tuple[int, int]) -> list[tuple[int, int]]:
    """The pixels of the window under foreground points."""
    if prompt.points is None:
        return []
    return _places(window, prompt.points[prompt.point_labels == 1], origin)


def _places(window: NDArray[np.uint8], points: NDArray[np.float32], origin: tuple[int, int]) -> list[tuple[int, int]]:
    """x, y of the pixels of the window nearest to `points` (N×2, x y in the image)."""
    height, width = window.shape
    shifted = np.floor(points - np.array(origin, np.float32)).astype(int)
    return [(int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))) for x, y in shifted]


def _mask(answer: Answer, threshold: float) -> NDArray[np.bool_]:
    mask = answer.logits > threshold
    if not answer.seeds:
        return mask
    _, parts = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    wanted = {int(parts[y, x]) for x, y in answer.seeds} - {0}
    return np.isin(parts, list(wanted))


def _stability(answer: Answer, threshold: float, offset: float) -> float:
    """IoU of the mask thresholded `offset` grey levels above and below; the one lies inside the other."""
    inner, outer = _mask(answer, threshold + offset).sum(), _mask(answer, threshold - offset).sum()
    return float(inner / outer) if outer else 1.0
