"""Pictures and prompts at their extremes are answered like all others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import samovar
from samovar import Image, Prompt
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.segmenter import DefaultSegmenter

EVERYTHING = DecodeOptions(multimask=True, logits=True, stability_offset=1.0)


def picture(kind: str, width: int, height: int) -> NDArray[np.uint8]:
    """H×W×3 uint8: "flat", "noise", "grey" noise or a "slope"."""
    rng = np.random.default_rng(0)
    if kind == "flat":
        return np.full((height, width, 3), 128, np.uint8)
    if kind == "grey":
        return rng.integers(0, 256, (height, width, 1), dtype=np.uint8).repeat(3, axis=2)
    if kind == "slope":
        return np.linspace(0, 255, width).astype(np.uint8)[None, :, None].repeat(height, axis=0).repeat(3, axis=2)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def ask_everything(segmenter: DefaultSegmenter, pixels: NDArray[np.uint8]) -> None:
    """Every kind of prompt, at the edges too, gets sound masks."""
    height, width = pixels.shape[:2]
    (embedding,) = segmenter.encode([Image(pixels)])
    whole = np.ones((height, width), bool)
    prompts = [
        Prompt(box=(0, 0, width, height)),
        Prompt(box=(-5, -5, width + 5, height + 5)),
        Prompt(box=(width / 2, height / 2, width / 2 + 0.25, height / 2 + 0.25)),
        Prompt(points=[[0, 0]]),
        Prompt(points=[[width, height]]),
        Prompt(points=[[width / 2, height / 2], [width / 2, height / 2]], point_labels=[1, 0]),
        Prompt(points=[[width / 2, height / 2]], point_labels=[0]),
        Prompt(points=[[width / 2, height / 2]], box=(0, 0, width, height)),
        Prompt(mask=whole),
        Prompt(mask=~whole),
        Prompt(mask=np.full((3, 3), -1, np.float32), points=[[0, height]]),
    ]
    masks = segmenter.decode([embedding], [Prompts.of(prompts)], EVERYTHING)[0]
    assert (masks.width, masks.height) == (width, height)
    assert sorted(set(masks.prompt_index.tolist())) == list(range(len(prompts)))
    assert np.isfinite(masks.scores).all()
    assert (masks.scores >= 0).all()
    assert (masks.scores <= 1).all()
    assert masks.logits is not None
    assert np.isfinite(masks.logits).all()
    assert masks.stability is not None
    assert (masks.stability <= 1).all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 2), (3, 7), (17, 400)], ids=str)
@pytest.mark.parametrize("kind", ["flat", "noise"])
def test_tiny_and_thin_pictures(segmenter: DefaultSegmenter, kind: str, size: tuple[int, int]) -> None:
    ask_everything(segmenter, picture(kind, *size))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "noise", "grey", "slope"])
def test_pictures_with_nothing_to_see_or_too_much(segmenter: DefaultSegmenter, kind: str) -> None:
    ask_everything(segmenter, picture(kind, 320, 240))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(20_000, 200), (1, 20_000), (4000, 3000)], ids=str)
def test_huge_pictures(segmenter: DefaultSegmenter, size: tuple[int, int]) -> None:
    ask_everything(segmenter, picture("slope", *size))


def test_a_box_around_a_flat_picture_is_filled(segmenter: DefaultSegmenter) -> None:
    """With nothing to tell inside from outside, the box itself is the best answer."""
    (embedding,) = segmenter.encode([Image(picture("flat", 100, 80))])
    masks = segmenter.decode([embedding], [Prompts.from_boxes([[20, 20, 80, 60]])], DecodeOptions())[0]
    assert masks.areas[0] > 0.8 * 60 * 40


def dotted(kind: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A flat picture with one small thing on it, and where the thing is."""
    pixels = np.full((400, 600, 3), 255, np.uint8)
    ys, xs = np.ogrid[:400, :600]
    thing = (xs - 300) ** 2 + (ys - 200) ** 2 < 30**2
    colours = {"disc": (200, 30, 30), "scan": (0, 0, 0), "text": (0, 0, 0), "nodata": (90, 140, 60)}
    if kind == "text":
        strokes = cv2.putText(
            np.zeros((400, 600), np.uint8), "one line", (200, 210), cv2.FONT_HERSHEY_SIMPLEX, 1.5, 1, 8
        )
        thing = strokes > 0
    pixels[thing] = colours[kind]
    if kind == "nodata":
        pixels[~thing] = 0
        pixels[thing] += np.random.default_rng(0).integers(0, 40, (int(thing.sum()), 3), dtype=np.uint8)
    return pixels, thing


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["disc", "scan", "text", "nodata"])
def test_a_click_on_a_flat_background_finds_it_and_one_on_the_small_thing_finds_that(
    segmenter: DefaultSegmenter, kind: str
) -> None:
    """The background is one region of nearly the whole picture, larger than any object is expected to be."""
    pixels, thing = dotted(kind)
    (embedding,) = segmenter.encode([Image(pixels)])
    places = [(x, y) for y in np.linspace(3, 397, 9) for x in np.linspace(3, 597, 9)]
    places = [(x, y) for x, y in places if not thing[int(y), int(x)]] + [(300.0, 200.0)] * (kind != "text")
    masks = segmenter.decode([embedding], [Prompts.from_points(places)], DecodeOptions())[0].to_array()
    for (x, y), mask in zip(places, masks, strict=True):
        meant = thing if thing[int(y), int(x)] else ~thing
        assert mask[int(y), int(x)], (x, y)
        assert (mask & meant).sum() / (mask | meant).sum() > 0.8, (x, y)


@pytest.mark.slow
def test_everything_of_a_flat_picture_with_one_thing_is_found(segmenter: DefaultSegmenter) -> None:
    pixels, thing = dotted("disc")
    masks = samovar.Runtime(segmenter).segment_all(Image(pixels), pred_iou_thresh=0.2).to_array()
    assert max((mask & thing).sum() / (mask | thing).sum() for mask in masks) > 0.8
    assert max((mask & ~thing).sum() / (mask | ~thing).sum() for mask in masks) > 0.95
