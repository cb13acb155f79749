"""Instances as prompts: key points speak for their own person and against the neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.prompts import Prompt, Prompts
from samovar_adapters.instances.columns import Columns

__all__ = ["to_prompts"]

_CLEAR = 0.1  # of a box's longer side: nearer than this to a point of one's own, a neighbour's point says nothing


def to_prompts(
    instances: Any,
    width: int,
    height: int,
    *,
    names: Sequence[str] = (),
    visible_thr: float = 0.3,
    negatives: int = 4,
) -> Prompts:
    """One prompt per instance: its box, its visible key points as foreground, its neighbours' as background.

    A neighbour's key point counts where it lies in this instance's box and not close to a key point of its own: there
    it tells two people apart who overlap. An instance without anything inside the `width`×`height` image gives none.

    Args:
        instances: whatever `Columns.of` takes: MMPose's and MMTracking's results, dictionaries, lists of them.
        names: what numeric labels stand for.
        visible_thr: key points of which the tool is less sure are left out.
        negatives: the most background points of an instance; the nearest to its own are taken.

    Raises:
        InputError: as `Columns.of`.
    """
    found = Columns.of(instances, names)
    own = [_visible(found, i, width, height, visible_thr) for i in range(len(found))]
    rows = []
    for i, mine in enumerate(own):
        box = _box(found, i, mine, width, height)
        if box is None:
            continue
        theirs = np.concatenate([np.zeros((0, 2), np.float32), *own[:i], *own[i + 1 :]])
        against = _against(theirs, mine, box, negatives)
        points = np.concatenate([mine, against])
        rows.append(
            Prompt(
                points=points if len(points) else None,
                point_labels=[1] * len(mine) + [0] * len(against) if len(points) else None,
                box=box if found.boxes is not None else None,
                label=None if found.labels is None else found.labels[i],
                id=None if found.ids is None else found.ids[i],
            )
        )
    return Prompts.of(rows)


def _visible(found: Columns, i: int, width: int, height: int, threshold: float) -> NDArray[np.float32]:
    """P×2: the key points of instance `i` that may be believed and lie inside the image."""
    if found.keypoints is None:
        return np.zeros((0, 2), np.float32)
    points = found.keypoints[i]
    x, y = points.T
    keep = (x >= 0) & (y >= 0) & (x < width) & (y < height)  # False for NaN
    if found.visible is not None:
        keep &= found.visible[i] >= threshold
    kept: NDArray[np.float32] = points[keep]
    return kept


def _box(found: Columns, i: int, mine: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32] | None:
    """The instance's box inside the image, or that of its key points; None if nothing of it is there."""
    if found.boxes is not None:
        box = np.clip(found.boxes[i], 0, np.array([width, height] * 2, np.float32))
        inside = bool(box[0] < box[2] and box[1] < box[3])
        return box if inside else None
    return np.concatenate([mine.min(axis=0), mine.max(axis=0)]) if len(mine) else None


def _against(
    theirs: NDArray[np.float32], mine: NDArray[np.float32], box: NDArray[np.float32], most: int
) -> NDArray[np.float32]:
    inside = (theirs > box[:2]).all(axis=1) & (theirs < box[2:]).all(axis=1)
    theirs = theirs[inside]
    if not len(mine) or not len(theirs):
        return np.zeros((0, 2), np.float32)
    distance = np.linalg.norm(theirs[:, None] - mine[None], axis=2).min(axis=1)
    nearest = np.argsort(distance, kind="stable")
    clear = distance[nearest] > _CLEAR * (box[2:] - box[:2]).max()
    taken: NDArray[np.float32] = theirs[nearest[clear][:most]]
    return taken
