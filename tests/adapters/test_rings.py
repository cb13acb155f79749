"""Regions with holes and several parts as single rings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from samovar import Masks
from samovar_adapters.formats.shapes import one_ring, with_slits
from tests.adapters.scenes import any_masks, photos, same


@pytest.mark.slow
@pytest.mark.parametrize("pairs", [0, 1_000_000], ids=["long slits", "short slits"])
@given(masks=any_masks())
def test_one_ring_draws_the_mask_that_it_was_made_of(pairs: int, masks: Masks) -> None:
    kept = masks[masks.areas > 0]
    joined = [one_ring(regions, pairs) for regions in kept.to_polygons()]
    drawn = Masks.from_polygons([[ring] for ring in joined if ring is not None], masks.width, masks.height)
    assert same(drawn, kept)


@pytest.mark.slow
@given(masks=any_masks())
def test_rings_with_slits_draw_their_regions(masks: Masks) -> None:
    parts = [[with_slits(region) for region in regions] for regions in masks.to_polygons()]
    assert same(Masks.from_polygons(parts, masks.width, masks.height), masks)


def test_tools_that_fill_by_the_winding_rule_draw_it_too(data_folder: Path) -> None:
    """A ring that turns the other way round a hole: Qt and the browsers' canvas fill by winding by default."""
    for _, masks in photos(data_folder, 3):
        for mask in masks:
            for region in mask.to_polygons()[0]:
                ring = with_slits(region).astype(np.float64)
                x, y = ring.T
                signed = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
                filled = sum(abs(_area(r)) * (1 if k == 0 else -1) for k, r in enumerate(region.rings))
                assert abs(signed) == filled


def _area(ring: np.ndarray) -> float:
    x, y = ring.astype(np.float64).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def test_no_regions_make_no_ring() -> None:
    assert one_ring([]) is None
