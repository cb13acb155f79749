"""What is followed from the first frame on, and what joins later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import PromptSource
from samovar.runtime import Runtime

__all__ = ["Starter"]

_KNOWN = 0.5  # of a find's area inside what is already followed, above which it is nothing new
_AROUND = 8.0  # times its area: what is larger is what a find may stand in front of, such as a meadow
_SAME = 0.7  # IoU above which two finds are one
_SMALLEST = 0.0005  # of the frame


@dataclass(frozen=True)
class Starter:
    """Says what to follow.

    Attributes:
        prompts: for the first frame; a text may mean several objects, and is asked again later for what has entered.
        source: asked for prompts in the first frame, and later for what has entered.
        everything: look for every object by itself instead.
        most: objects that a look at one frame may start, the largest first.
    """

    runtime: Runtime
    prompts: Prompts | None = None
    source: PromptSource | None = None
    everything: bool = False
    most: int = 20

    def first(self, image: Image) -> Prompts:
        """The first frame's objects."""
        if self.prompts is None:
            return self.entered(image, Masks.empty(image.width, image.height))
        if not self.prompts.texts:
            return self.prompts
        return _as_prompts(self.runtime.segment(image, self.prompts))

    def entered(self, image: Image, followed: Masks) -> Prompts:
        """Objects in the frame that `followed` does not cover; none where there is no source or text to ask again."""
        texts = [prompt for prompt in self.prompts or () if prompt.text is not None]
        if texts:
            found = self.runtime.segment(image, texts)
        elif self.source is not None:
            found = self.runtime.segment(image, self.source.prompts([image])[0])
        elif self.everything:
            found = self.runtime.segment_all(image)
        else:
            found = Masks.empty(image.width, image.height)
        found = found[found.areas >= _SMALLEST * image.width * image.height]
        found = found[found.nms(_SAME)]
        if len(found) and len(followed):
            inside = found.iou(followed, crowd=np.ones(len(followed), np.bool_))
            inside[followed.areas[None] > _AROUND * found.areas[:, None]] = 0
            found = found[inside.sum(axis=1) < _KNOWN]
        return _as_prompts(found[np.argsort(-found.areas, kind="stable")[: self.most]])


def _as_prompts(masks: Masks) -> Prompts:
    return Prompts.of([Prompt(mask=mask, label=mask.labels[0]) for mask in masks if mask.areas[0]])
