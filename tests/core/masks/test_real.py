"""Masks that people drew on photos: every form gives them back, and agrees with pycocotools."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from samovar.masks import Masks


@pytest.fixture(scope="module")
def photos(data_folder: Path) -> list[tuple[list[dict[str, Any]], Masks]]:
    """The annotations of every photo, and the masks made of them."""
    index = json.loads((data_folder / "masks" / "index.json").read_text(encoding="utf-8"))
    drawn: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for annotation in index["masks"]:
        drawn[annotation["image"]].append(annotation)
    return [(rows, Masks.from_coco_rle([row["rle"] for row in rows])) for rows in drawn.values()]


Photos = list[tuple[list[dict[str, Any]], Masks]]


def each(photos: Photos) -> Iterator[tuple[list[dict[str, Any]], Masks]]:
    assert sum(len(masks) for _, masks in photos) > 1000
    return iter(photos)


@pytest.mark.slow
def test_their_text_comes_back_byte_for_byte_and_their_areas_are_those_annotated(photos: Photos) -> None:
    for rows, masks in each(photos):
        assert masks.to_coco_rle() == [row["rle"] for row in rows]
        assert masks.areas.tolist() == [row["area"] for row in rows]


@pytest.mark.slow
def test_their_pixels_are_those_that_pycocotools_decodes(photos: Photos) -> None:
    for rows, masks in each(photos):
        theirs = coco.decode([row["rle"] for row in rows]).transpose(2, 0, 1)
        assert np.array_equal(masks.to_array(), theirs)
        assert Masks.from_array(theirs).equals(masks)
        assert Masks.from_packed(masks.to_packed(), masks.width, masks.height).equals(masks)


@pytest.mark.slow
def test_their_polygons_are_exact_and_a_tolerance_below_a_pixel_costs_them_little(photos: Photos) -> None:
    losses, kept, given = [], 0, 0
    for _, masks in each(photos):
        exact, simple = masks.to_polygons(), masks.to_polygons(0.75)
        assert Masks.from_polygons(exact, masks.width, masks.height).equals(masks)
        given += sum(len(ring) for mask in exact for polygon in mask for ring in polygon.rings)
        kept += sum(len(ring) for mask in simple for polygon in mask for ring in polygon.rings)
        losses.append(masks.polygon_loss(0.75))
    assert np.concatenate(losses).mean() < 0.02
    assert kept < given / 2


def test_their_overlaps_are_those_of_pycocotools(photos: Photos) -> None:
    for rows, masks in each(photos):
        rles = [row["rle"] for row in rows]
        assert np.array_equal(masks.iou(masks), coco.iou(rles, rles, [0] * len(rles)))
        assert masks.union().to_coco_rle()[0]["counts"].encode() == coco.merge(rles)["counts"]
