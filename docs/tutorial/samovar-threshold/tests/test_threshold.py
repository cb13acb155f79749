"""What this segmenter in particular is for."""

import numpy as np
import samovar

from samovar_threshold.otsu import separation


def two_discs():
    """Two light discs on a dark ground, 120×80 pixels, and the mask of each."""
    y, x = np.mgrid[:80, :120] + 0.5
    discs = [np.hypot(x - centre, y - 40) < 20 for centre in (30, 90)]
    pixels = np.where(discs[0] | discs[1], 200, 60).astype(np.uint8)
    return samovar.Image(pixels), discs


def test_samovar_finds_the_model_once_the_package_is_installed():
    assert "threshold" in [spec.name for spec in samovar.list_segmenters()]


def test_a_box_gives_what_stands_out_inside_it():
    image, (disc, _) = two_discs()
    masks = samovar.load("threshold", cache=None).segment(image, samovar.Prompt(box=(5, 15, 55, 65)))
    assert np.array_equal(masks.to_array()[0], disc)


def test_a_point_gives_the_object_under_it_and_not_its_twin():
    image, (_, disc) = two_discs()
    masks = samovar.load("threshold", cache=None).segment(image, samovar.Prompt(points=[(90, 40)]))
    assert np.array_equal(masks.to_array()[0], disc)


def test_a_background_point_asks_for_the_other_side():
    image, discs = two_discs()
    prompt = samovar.Prompt(box=(0, 0, 120, 80), points=[(2, 2)], point_labels=[0])
    masks = samovar.load("threshold", cache=None).segment(image, prompt)
    assert np.array_equal(masks.to_array()[0], discs[0] | discs[1])


def test_the_best_threshold_lies_between_the_two_grey_levels():
    quality = separation(np.array([[10, 10, 12, 200, 201, 199]], np.uint8))
    assert 12 <= quality.argmax() < 199
    assert quality.max() > 0.99
