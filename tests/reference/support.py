"""Photos, prompts and measures that the comparisons with reference implementations share."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar import Image, Masks, Prompt
from samovar.protocols import DecodeOptions, Segmenter
from samovar_plugins.toolkit import MaskBuilder, SamSegmenter

__all__ = ["Agreement", "ambiguous", "aspects", "prompt_arguments", "some_prompts"]


def aspects(folder: Path) -> list[Image]:
    """A landscape, a portrait and a panorama, each a real photo."""
    found: dict[bool, Image] = {}
    for path in sorted((folder / "masks" / "images").glob("*.jpg")):
        image = Image(path)
        found.setdefault(image.width > image.height, image)
        if len(found) == 2:
            break
    wide = found[True]
    return [wide, found[False], wide.crop(0, wide.height // 3, wide.width, wide.height // 3 + wide.height // 4)]


def some_prompts(image: Image, *, masks: bool = True) -> list[Prompt]:
    """Every kind and combination, some outside the middle, some with several points."""
    random = np.random.default_rng([image.width, image.height])
    size = np.array([image.width, image.height])

    def point() -> list[float]:
        return list(random.uniform(0.05, 0.95, 2) * size)

    def box() -> list[float]:
        corners = np.sort(random.uniform(0, 1, (2, 2)), axis=0)
        corners[1] = np.minimum(corners[1] + 0.05, 1)
        return list((corners * size).ravel())

    prompts = [Prompt(box=box()) for _ in range(2)]
    prompts += [Prompt(points=[point()]) for _ in range(2)]
    prompts += [Prompt(points=[point(), point(), point()], point_labels=[1, 0, 1])]
    prompts += [Prompt(points=[point(), point()], point_labels=[1, 0], box=box())]
    if masks:
        logits = random.normal(0, 4, (256, 256)).astype(np.float32)
        prompts += [Prompt(mask=logits), Prompt(mask=logits, points=[point()]), Prompt(mask=logits, box=box())]
    return prompts


@dataclass
class Agreement:
    """How far answers are from the reference's, over all masks compared.

    Attributes:
        segmenter: ours.
        masks: how many.
        identical: how many have the same run lengths.
        outlined: how many have, when ours outlines the reference's own logits.
        pixels: the most pixels that one of the others differs by.
        compared, differing: pixels of all masks, and those of them that differ.
        unexplained: pixels that differ though the logits around them are further from 0 than from each other.
        logits, ious: the largest absolute differences.
        filled: how many are neither empty nor full.
    """

    segmenter: Segmenter = field(repr=False)
    masks: int = 0
    identical: int = 0
    outlined: int = 0
    pixels: int = 0
    compared: int = 0
    differing: int = 0
    unexplained: int = 0
    logits: float = 0.0
    ious: float = 0.0
    filled: int = 0

    def add(
        self, ours: Masks, dense: NDArray[np.bool_], logits: NDArray[np.float32], ious: NDArray[np.float32]
    ) -> None:
        """Answers of both to one prompt, N masks each."""
        theirs = Masks.from_array(dense)
        assert len(ours) == len(theirs)
        assert ours.logits is not None
        apart = float(np.abs(ours.logits - logits).max())
        self.masks += len(ours)
        self.compared += dense.size
        self.outlined += _same(self._outline(logits, theirs), theirs)
        identical = _same(ours, theirs)
        self.identical += identical
        if identical < len(ours):
            differing = (ours.to_array() ^ dense).sum(axis=(1, 2))
            self.pixels = max(self.pixels, int(differing.max()))
            self.differing += int(differing.sum())
            doubt = apart + 1e-6 * float(np.abs(logits).max())
            least, most = (self._outline(ours.logits, theirs, shift).to_array() for shift in (doubt, -doubt))
            self.unexplained += int((least & ~dense).sum() + (dense & ~most).sum())
        self.logits = max(self.logits, apart)
        self.ious = max(self.ious, float(np.abs(ours.scores - ious).max()))
        areas = theirs.areas
        self.filled += int(((areas > 0) & (areas < ours.width * ours.height)).sum())

    def _outline(self, logits: NDArray[np.float32], like: Masks, threshold: float = 0.0) -> Masks:
        """Masks of N×h×w logits for an image as large as that of `like`."""
        assert isinstance(self.segmenter, SamSegmenter)
        interpolation = self.segmenter.interpolation(like.width, like.height)
        answers = MaskBuilder(interpolation, DecodeOptions(mask_threshold=threshold))
        falling = np.arange(len(logits), 0, -1, dtype=np.float32)  # the best comes first, so that the order stays
        answers.add(np.zeros(1, np.int64), logits[None], falling[None])
        return answers.masks(like.width, like.height)

    def check(self) -> None:
        """The bars: 1e-4 in logits and predicted IoUs; of the same logits, the same masks; else a few pixels' rounding.

        Random weights have shallow outlines, on which a rounding of 1e-6 moves the odd pixel. So how many masks are
        byte for byte the same is asked of the reference's logits; of our own, that rounding explains every pixel, and
        that those are few: logits that differ by 1e-5 of their spread move about one pixel in 100,000.
        """
        print(self)
        assert self.filled >= 0.5 * self.masks, f"too few masks have an outline to compare: {self}"
        assert self.logits <= 1e-4, self
        assert self.ious <= 1e-4, self
        assert self.outlined >= 0.999 * self.masks, self
        assert self.unexplained == 0, self
        assert self.differing <= 1e-5 * self.compared, self
        assert self.pixels < 5, self


def _same(ours: Masks, theirs: Masks) -> int:
    """How many masks have the same run lengths."""
    return sum(np.array_equal(mine.runs.counts, other.runs.counts) for mine, other in zip(ours, theirs))


def prompt_arguments(prompt: Prompt) -> dict[str, Any]:
    """A prompt as the `predict` of SAM's predictor takes it."""
    return {
        "point_coords": _own(prompt.points),
        "point_labels": _own(prompt.point_labels),
        "box": _own(prompt.box),
        "mask_input": None if prompt.mask is None else np.array(prompt.mask)[None],
    }


def _own(array: NDArray[Any] | None) -> NDArray[Any] | None:
    """A copy: a prompt's own arrays are read-only, of which torch warns."""
    return None if array is None else np.array(array)


def ambiguous(prompt: Prompt) -> bool:
    """A single click and nothing else."""
    return prompt.points is not None and len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
