"""A frame's masks as a line of JSON, and back, with ids, labels and scores."""

from __future__ import annotations

import json

import numpy as np

from samovar.masks import Masks

__all__ = ["from_line", "to_line"]


def to_line(masks: Masks) -> str:
    """The masks as one line, its end included."""
    line = {
        "width": masks.width,
        "height": masks.height,
        "ids": masks.ids,
        "labels": masks.labels,
        "scores": masks.scores.tolist(),
        "rle": masks.to_coco_rle(),
    }
    return json.dumps(line) + "\n"


def from_line(text: str) -> Masks:
    """The masks of such a line, as a tracker gives them: one of each object, in order."""
    line = json.loads(text)
    rows = [Masks.from_coco_rle([rle]) for rle in line["rle"]]
    masks = Masks.concat([Masks.empty(line["width"], line["height"]), *rows])
    return masks.replace(
        ids=line["ids"], labels=line["labels"], scores=line["scores"], prompt_index=np.arange(len(rows))
    )
