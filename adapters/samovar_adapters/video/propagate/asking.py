"""What the segmenter is asked, and its answers on the small frame."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.runtime import Runtime
from samovar_adapters.video.propagate.belief import Field, probability
from samovar_adapters.video.propagate.view import View

__all__ = ["first_masks", "prompt_for"]


def first_masks(runtime: Runtime, frame: Image, prompts: Prompts) -> Masks:
    """One mask a prompt, in their order. A mask at the frame's size and nothing else is taken as it is."""
    given = [_given(prompt) for prompt in prompts]
    asked = [index for index, mask in enumerate(given) if mask is None]
    answers = runtime.segment(frame, [prompts[index] for index in asked]) if asked else None
    rows = list(given)
    for place, index in enumerate(asked):
        if answers is not None:
            rows[index] = answers[answers.prompt_index == place][:1]
    empty = Masks.empty(frame.width, frame.height)
    return Masks.concat([empty, *(row if row is not None and len(row) else _nothing(frame) for row in rows)])


def _given(prompt: Prompt) -> Masks | None:
    return prompt.mask if isinstance(prompt.mask, Masks) and prompt.kinds == {"mask"} else None


def _nothing(frame: Image) -> Masks:
    return Masks.from_array(np.zeros((1, frame.height, frame.width), np.bool_))


def prompt_for(view: View, odds: Field, kinds: frozenset[str]) -> Prompt:
    """The box around where the log odds are positive, the point deepest inside, and the odds themselves as a mask.

    Args:
        kinds: the kinds of prompt that may be given together; a box is always among them.
    """
    inside = odds > 0
    rows, columns = np.nonzero(inside)
    scale = np.array([view.width / odds.shape[1], view.height / odds.shape[0]], np.float32)
    low = np.array([columns.min(), rows.min()]) * scale
    high = np.array([columns.max() + 1, rows.max() + 1]) * scale
    more: dict[str, Any] = {}
    if "mask" in kinds:
        more["mask"] = Masks.from_array(view.enlarge(probability(odds))[None] > 0.5)
    elif "points" in kinds:
        more["points"] = (_deepest(inside) * scale)[None]
    return Prompt(box=np.concatenate([low, np.minimum(high, [view.width, view.height])]), **more)


def _deepest(inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    depth = cv2.distanceTransform(np.pad(inside.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    row, column = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return np.array([column + 0.5, row + 0.5], np.float32)
