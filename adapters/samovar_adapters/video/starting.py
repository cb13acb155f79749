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
_SAME = 0.7  # IoU above which two finds are one
_SMALLEST = 0.0005  # of the frame


@dataclass(frozen=True)
class Starter:
    """Says what to follow.

    Attributes:
        prompts: for the first frame; a text may mean several objects.
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
        """Objects in the frame that `followed` does not cover; none where neither a source nor everything is asked."""
        if self.source is not None:
            found = self.runtime.segment(image, self.source.prompts([image])[0])
        elif self.everything:
            found = self.runtime.segment_all(image)
        else:
            found = Masks.empty(image.width, image.height)
        found = found[found.areas >= _SMALLEST * image.width * image.height]
        found = found[found.nms(_SAME)]
        if len(found) and len(followed):
            inside = found.iou(followed.union(), crowd=np.ones(1, np.bool_))[:, 0]
            found = found[inside < _KNOWN]
        return _as_prompts(found[np.argsort(-found.areas, kind="stable")[: self.most]])


def _as_prompts(masks: Masks) -> Prompts:
    return Prompts.of([Prompt(mask=mask, label=mask.labels[0]) for mask in masks if mask.areas[0]])
