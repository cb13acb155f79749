"""Masks to write and read back: real ones, and any that Hypothesis can think of."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from samovar import Image, Masks

__all__ = ["any_masks", "blank", "names", "photos", "same"]

labels = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)
idents = st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5)


@st.composite
def any_masks(draw: st.DrawFn) -> Masks:
    """Up to four masks of a small image, in all shapes, with labels, ids and scores."""
    height, width = draw(array_shapes(min_dims=2, max_dims=2, max_side=24))
    count = draw(st.integers(0, 4))
    pixels = draw(arrays(np.bool_, (count, height, width), fill=st.nothing()))
    return Masks.from_array(pixels).replace(
        scores=draw(arrays(np.float32, count, elements=st.floats(0, 1, width=32))),
        labels=draw(st.lists(labels, min_size=count, max_size=count)),
        ids=draw(st.lists(idents, min_size=count, max_size=count)),
        prompt_index=draw(arrays(np.int64, count, elements=st.integers(0, 9))),
    )


def blank(masks: Masks, name: str = "blank") -> Image:
    """A black image that the masks fit."""
    return Image(np.zeros((masks.height, masks.width, 3), np.uint8), name=name)


def names(folder: Path) -> list[str]:
    """What is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def photos(data_folder: Path, most: int, subset: str = "cocotr") -> list[tuple[Image, Masks]]:
    """Real photos with their annotated masks, those with the most masks first."""
    index = json.loads((data_folder / "masks" / "index.json").read_text())
    rles: dict[int, list[Any]] = defaultdict(list)
    for mask in index["masks"]:
        rles[mask["image"]].append(mask["rle"])
    chosen = [place for place, image in enumerate(index["images"]) if image["subset"] == subset]
    chosen.sort(key=lambda place: -len(rles[place]))
    return [
        (Image(data_folder / "masks" / index["images"][place]["file"]), Masks.from_coco_rle(rles[place]))
        for place in chosen[:most]
    ]


def same(one: Masks, other: Masks) -> bool:
    """Whether the pixels are the same, in images of one size."""
    return one.equals(other)
