"""A search over made images for one that `default` does not answer: the things that photos seldom are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import samovar
from samovar import Image, Prompt
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.segmenter import DefaultSegmenter

pytestmark = pytest.mark.slow

KINDS = ("flat", "halves", "line", "dot", "slope", "soft", "noise", "grain", "bits", "checks", "nodata", "frame")
COLOURS = ((0, 0, 0), (255, 255, 255), (200, 30, 30), (128, 128, 128), (20, 90, 60), (254, 255, 255))
SIZES = st.one_of(
    st.sampled_from([(1, 1), (1, 40), (40, 1), (2, 2), (300, 3), (3, 300), (800, 8), (1, 5000)]),
    st.tuples(st.integers(1, 120), st.integers(1, 120)),
)


def made(kind: str, size: tuple[int, int], colours: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """H×W×3 uint8 of a kind, in two colours."""
    width, height = size
    rng = np.random.default_rng(seed)
    one, other = (np.array(COLOURS[c], np.uint8) for c in colours)
    ys, xs = np.mgrid[:height, :width]
    x, y = int(rng.integers(width)), int(rng.integers(height))
    mix = np.zeros((height, width), np.float32)
    if kind == "halves":
        mix[:, x:] = 1
    elif kind == "line":
        mix[y] = 1
    elif kind == "dot":
        mix[(xs - x) ** 2 + (ys - y) ** 2 <= rng.integers(0, 1 + max(width, height) // 8) ** 2] = 1
    elif kind == "slope":
        mix = (xs / max(width - 1, 1)).astype(np.float32)
    elif kind == "soft":
        mix = np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (width * height / 20 + 1)).astype(np.float32)
    elif kind == "bits":
        mix = rng.integers(0, 2, (height, width)).astype(np.float32)
    elif kind == "checks":
        mix = ((xs // (1 + seed % 9) + ys // (1 + seed % 7)) % 2).astype(np.float32)
    elif kind == "nodata":
        mix[y:, x:] = 1
    elif kind == "frame":
        mix[[0, -1], :] = mix[:, [0, -1]] = 1
    pixels: NDArray[Any] = one + mix[..., None] * (other.astype(np.float32) - one)
    if kind == "noise":
        pixels = rng.integers(0, 256, (height, width, 3)).astype(np.float32)
    elif kind == "grain" or (kind == "nodata" and seed % 2):
        pixels = pixels + rng.normal(0, 4, (height, width, 3)) * (1 if kind == "grain" else mix[..., None])
    clipped: NDArray[np.uint8] = np.clip(pixels, 0, 255).astype(np.uint8)
    return clipped


def asked(width: int, height: int, seed: int) -> list[Prompt]:
    """Prompts of every kind, in any combination."""
    rng = np.random.default_rng(seed)
    out = []
    for _ in range(6):
        points = rng.uniform(0, (width, height), (int(rng.integers(1, 4)), 2))
        corners = np.sort(rng.uniform(0, (width, height), (2, 2)), axis=0)
        box = (*corners[0], *(corners[1] + 0.5))
        mask = rng.random((height, width)) < rng.random()
        out += [
            Prompt(points=points[:1]),
            Prompt(points=points, point_labels=rng.integers(0, 2, len(points))),
            Prompt(box=box),
            Prompt(points=points, point_labels=rng.integers(0, 2, len(points)), box=box),
            Prompt(mask=mask),
            Prompt(mask=rng.normal(0, 3, (5, 7)).astype(np.float32), points=points),
        ]
    return out


def check(segmenter: DefaultSegmenter, pixels: NDArray[np.uint8], seed: int) -> None:
    """Every prompt has an answer, and one that names a place is not empty."""
    height, width = pixels.shape[:2]
    (embedding,) = segmenter.encode([Image(pixels)])
    prompts = asked(width, height, seed)
    for multimask in (False, True):
        options = DecodeOptions(multimask=multimask, logits=True, stability_offset=1.0)
        masks = segmenter.decode([embedding], [Prompts.of(prompts)], options)[0]
        assert sorted(set(masks.prompt_index.tolist())) == list(range(len(prompts)))
        assert ((masks.scores >= 0) & (masks.scores <= 1)).all()
        assert masks.logits is not None
        assert np.isfinite(masks.logits).all()
        empty = np.flatnonzero(masks.areas == 0)
        assert not len(empty), [prompts[masks.prompt_index[k]] for k in empty]


images = st.builds(
    made,
    st.sampled_from(KINDS),
    SIZES,
    st.tuples(st.integers(0, len(COLOURS) - 1), st.integers(0, len(COLOURS) - 1)),
    st.integers(0, 2**16),
)


@given(images, st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_no_made_image_is_left_without_an_answer(
    segmenter: DefaultSegmenter, pixels: NDArray[np.uint8], seed: int
) -> None:
    check(segmenter, pixels, seed)


@given(images, st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_not_one_of_many_made_images_is_left_without_an_answer(
    segmenter: DefaultSegmenter, pixels: NDArray[np.uint8], seed: int
) -> None:
    check(segmenter, pixels, seed)


@given(images)
@settings(max_examples=40, deadline=None)
def test_every_made_image_has_automatic_masks(segmenter: DefaultSegmenter, pixels: NDArray[np.uint8]) -> None:
    found = samovar.Runtime(segmenter).segment_all(
        Image(pixels), points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0
    )
    assert len(found)
    assert (found.areas > 0).all()
