"""Photos, prompts and measures that the comparisons with reference implementations share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar import Image, Masks, Prompt

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

    prompts = [Prompt(box=box()) for _ in range(6)]
    prompts += [Prompt(points=[point()]) for _ in range(4)]
    prompts += [Prompt(points=[point(), point(), point()], point_labels=[1, 0, 1]) for _ in range(2)]
    prompts += [Prompt(points=[point(), point()], point_labels=[1, 0], box=box()) for _ in range(2)]
    if masks:
        logits = random.normal(0, 4, (256, 256)).astype(np.float32)
        prompts += [Prompt(mask=logits), Prompt(mask=logits, points=[point()]), Prompt(mask=logits, box=box())]
    return prompts


@dataclass
class Agreement:
    """How far answers are from the reference's, over all masks compared.

    Attributes:
        masks: how many.
        identical: how many have the same run lengths.
        pixels: the most pixels that one of the others differs by.
        logits, ious: the largest absolute differences.
        filled: share of masks that are neither empty nor full.
    """

    masks: int = 0
    identical: int = 0
    pixels: int = 0
    logits: float = 0.0
    ious: float = 0.0
    filled: int = 0

    def add(
        self, ours: Masks, dense: NDArray[np.bool_], logits: NDArray[np.float32], ious: NDArray[np.float32]
    ) -> None:
        """Answers of both to the same prompts, N masks each."""
        theirs = Masks.from_array(dense)
        assert len(ours) == len(theirs)
        assert ours.logits is not None
        self.masks += len(ours)
        for mine, other in zip(ours, theirs):
            if np.array_equal(mine.runs.counts, other.runs.counts):
                self.identical += 1
            else:
                self.pixels = max(self.pixels, int((mine.to_array() ^ other.to_array()).sum()))
        self.logits = max(self.logits, float(np.abs(ours.logits - logits).max()))
        self.ious = max(self.ious, float(np.abs(ours.scores - ious).max()))
        areas = theirs.areas
        self.filled += int(((areas > 0) & (areas < ours.width * ours.height)).sum())

    def check(self) -> None:
        """The bars: 1e-4 in logits and predicted IoUs, 99.9 % byte-identical masks, the rest under 5 pixels."""
        print(self)
        assert self.filled >= 0.5 * self.masks, f"too few masks have an outline to compare: {self}"
        assert self.logits <= 1e-4, self
        assert self.ious <= 1e-4, self
        assert self.identical >= 0.999 * self.masks, self
        assert self.pixels < 5, self


def prompt_arguments(prompt: Prompt) -> dict[str, Any]:
    """A prompt as the `predict` of SAM's predictor takes it."""
    return {
        "point_coords": prompt.points,
        "point_labels": prompt.point_labels,
        "box": prompt.box,
        "mask_input": None if prompt.mask is None else np.asarray(prompt.mask)[None],
    }


def ambiguous(prompt: Prompt) -> bool:
    """A single click and nothing else."""
    return prompt.points is not None and len(prompt.points) == 1 and prompt.box is None and prompt.mask is None
