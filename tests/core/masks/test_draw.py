"""Masks drawn: fills, outlines and tags that can be told apart on any image."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from samovar import Image, Masks
from samovar.errors import MaskError
from samovar.masks.draw import (
    Tag,
    colours,
    draw_outline,
    draw_overlay,
    is_light,
    measure,
    place_tags,
    topmost,
)
from tests.adapters.scenes import any_masks, blank, photos


def discs(width: int, height: int, *circles: tuple[float, float, float]) -> Masks:
    y, x = np.mgrid[:height, :width]
    return Masks.from_array(np.stack([(x - cx) ** 2 + (y - cy) ** 2 < r * r for cx, cy, r in circles]))


def flat(width: int, height: int, value: int) -> Image:
    return Image(np.full((height, width, 3), value, np.uint8), name="flat")


def luminance(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (pixels / 255.0) ** 2.2 @ np.array([0.2126, 0.7152, 0.0722])
    return result


def rectangle(tag: Tag) -> tuple[float, float, float, float]:
    width, height = measure(tag.text, tag.size)
    return tag.x - width / 2, tag.y - height / 2, tag.x + width / 2, tag.y + height / 2


@pytest.mark.slow
@given(masks=any_masks())
def test_any_masks_of_any_size_can_be_drawn(masks: Masks) -> None:
    drawn = draw_overlay(blank(masks), masks)
    assert drawn.shape == (masks.height, masks.width, 3)
    assert drawn.dtype == np.uint8
    if not masks.areas.any():
        assert not drawn.any()


def test_pixels_away_from_masks_stay_as_they_were(photo: Path) -> None:
    image = Image(photo)
    masks = discs(image.width, image.height, (300, 200, 80))
    drawn = draw_overlay(image, masks)
    y, x = np.mgrid[: image.height, : image.width]
    away = (x - 300) ** 2 + (y - 200) ** 2 > 90**2
    assert np.array_equal(drawn[away], image.pixels[away])
    inside = (x - 300) ** 2 + (y - 200) ** 2 < 75**2
    assert (drawn[inside] != image.pixels[inside]).any(axis=1).mean() > 0.99


def test_the_image_itself_is_not_drawn_on(photo: Path) -> None:
    image = Image(photo)
    before = image.pixels.copy()
    draw_overlay(image, discs(image.width, image.height, (300, 200, 80)))
    assert np.array_equal(image.pixels, before)


@pytest.mark.parametrize("value", [0, 60, 128, 200, 255])
def test_an_outline_stands_out_on_every_grey(value: int) -> None:
    """Across the edge there is a step of contrast 2:1 or more, either of the light line or of its dark casing."""
    for number in range(12):
        masks = discs(200, 150, (100, 75, 50))
        canvas = np.full((150, 200, 3), value, np.uint8)
        draw_outline(canvas, next(masks.crops())[0], 50, 25, colours(12)[number], 2.0)
        across = luminance(canvas[75, 40:62])
        ground = luminance(np.full((1, 3), value, np.uint8))[0]
        contrast = (np.maximum(across, ground) + 0.05) / (np.minimum(across, ground) + 0.05)
        assert contrast.max() > 2


def test_outlines_are_smooth_and_not_a_staircase() -> None:
    masks = discs(200, 200, (100, 100, 80))
    canvas = np.zeros((200, 200, 3), np.uint8)
    crop, x, y = next(masks.crops())
    draw_outline(canvas, crop, x, y, colours(1)[0], 2.0)
    levels = np.unique(canvas[..., 0])
    assert len(levels) > 20
    rows, columns = np.nonzero(canvas[..., 0] > 60)
    radius = np.hypot(columns - 100, rows - 100)
    assert radius.max() - radius.min() < 4


def test_outlines_close_at_the_border_of_the_image() -> None:
    masks = Masks.from_array(np.ones((1, 50, 60), bool))
    canvas = np.zeros((50, 60, 3), np.uint8)
    draw_outline(canvas, next(masks.crops())[0], 0, 0, colours(1)[0], 3.0)
    assert (canvas[0].max(axis=1) > 60).all()
    assert (canvas[:, -1].max(axis=1) > 60).all()


def test_a_mask_of_one_pixel_gets_a_dot() -> None:
    canvas = np.zeros((20, 20, 3), np.uint8)
    draw_outline(canvas, np.ones((1, 1), bool), 10, 10, colours(1)[0], 2.0)
    assert canvas[10, 10].max() > 60


def test_lines_and_type_grow_with_the_image() -> None:
    def line(scale: int) -> int:
        masks = discs(200 * scale, 150 * scale, (100 * scale, 75 * scale, 50 * scale))
        drawn = draw_overlay(flat(200 * scale, 150 * scale, 255), masks, tags=False)
        return int((luminance(drawn[75 * scale, : 75 * scale]) < 0.35).sum())

    assert line(12) > 2 * line(1)


def test_the_smallest_mask_shows_where_masks_overlap() -> None:
    masks = discs(100, 100, (50, 50, 40), (50, 50, 20), (50, 50, 30))
    assert topmost(masks)[50, 50] == 2
    assert topmost(masks)[50, 25] == 3
    assert topmost(masks)[50, 15] == 1


def test_every_large_mask_has_its_tag_inside_what_shows_of_it() -> None:
    masks = discs(640, 480, (150, 150, 90), (450, 200, 120), (450, 200, 60), (200, 380, 70))
    shown = topmost(masks)
    tags = place_tags(masks, shown, 18)
    assert sorted(tag.text for tag in tags) == ["1", "2", "3", "4"]
    for tag in tags:
        x1, y1, x2, y2 = (round(value) for value in rectangle(tag))
        assert (shown[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] == tag.mask + 1).all()


def test_a_tag_stays_out_of_the_middle_of_a_mask_that_it_would_hide_much_of() -> None:
    masks = discs(400, 300, (200, 150, 34))
    (tag,) = place_tags(masks, topmost(masks), 16)
    assert tag.y < 140
    x1, y1, x2, y2 = (round(value) for value in rectangle(tag))
    assert (topmost(masks)[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] == 1).all()


def test_tags_never_overlap_and_lie_in_the_image(data_folder: Path) -> None:
    found = photos(data_folder, 6) + photos(data_folder, 4, "bsdstr")
    for image, masks in found:
        tags = place_tags(masks, topmost(masks), 17)
        assert len(tags) >= 0.8 * len(masks)
        boxes = [rectangle(tag) for tag in tags]
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            assert x1 > -2
            assert y1 > -2
            assert x2 < image.width + 2
            assert y2 < image.height + 2
            for a1, b1, a2, b2 in boxes[:i]:
                assert min(x2, a2) - max(x1, a1) < 1 or min(y2, b2) - max(y1, b1) < 1


def test_a_tag_of_a_mask_too_small_for_it_is_beside_the_mask() -> None:
    masks = discs(300, 200, (150, 100, 3))
    (tag,) = place_tags(masks, topmost(masks), 16)
    x1, y1, x2, y2 = rectangle(tag)
    assert not (x1 < 150 < x2 and y1 < 100 < y2)
    assert abs(tag.x - 150) < 40
    assert abs(tag.y - 100) < 40


def test_labels_follow_the_number_where_there_is_room() -> None:
    masks = discs(600, 400, (200, 200, 120), (450, 200, 14)).replace(labels=["a cup", "a very long label indeed"])
    texts = [tag.text for tag in place_tags(masks, topmost(masks), 18)]
    assert sorted(texts) == ["1  a cup", "2"]


def test_letters_that_the_font_lacks_lose_their_accents_or_leave_the_label_out() -> None:
    masks = discs(600, 400, (200, 200, 120), (450, 200, 100)).replace(labels=["コップ", "thé"])
    texts = [tag.text for tag in place_tags(masks, topmost(masks), 18)]
    assert sorted(texts) == ["1", "2  the"]


def test_a_long_label_is_cut() -> None:
    masks = discs(900, 400, (300, 200, 190)).replace(labels=["x" * 100])
    (tag,) = place_tags(masks, topmost(masks), 18)
    assert tag.text.endswith("…")
    assert len(tag.text) < 30


def test_hundreds_of_masks_are_drawn_without_overlapping_tags() -> None:
    random = np.random.default_rng(3)
    circles = [(random.uniform(0, 600), random.uniform(0, 400), random.uniform(2, 40)) for _ in range(200)]
    masks = discs(600, 400, *circles)
    boxes = [rectangle(tag) for tag in place_tags(masks, topmost(masks), 11)]
    assert len(boxes) > 100
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        for a1, b1, a2, b2 in boxes[:i]:
            assert min(x2, a2) - max(x1, a1) < 1 or min(y2, b2) - max(y1, b1) < 1


def test_colours_of_neighbours_in_the_sequence_are_far_apart() -> None:
    palette = colours(60).astype(float)
    for a, b in pairwise(palette):
        assert np.abs(a - b).sum() > 120
    assert len(np.unique(palette, axis=0)) == 60
    assert np.array_equal(colours(5), colours(60)[:5])


def test_text_on_a_tag_can_be_read() -> None:
    for colour in colours(40):
        ink = luminance(np.array([[16, 16, 16] if is_light(colour) else [255, 255, 255]], np.uint8))[0]
        ground = luminance(colour[None])[0]
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) > 4.5


def test_masks_of_another_size_are_refused_in_one_line(photo: Path) -> None:
    with pytest.raises(MaskError, match=r"photo\.jpg: the masks are 10×10 but the image is 600×400"):
        draw_overlay(Image(photo), Masks.empty(10, 10))
