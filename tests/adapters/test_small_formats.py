"""npz, png, labelmap and polygons: what is written is what is read."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image as Pillow

from samovar import Image, Masks
from samovar.errors import InputError, MaskError
from samovar_adapters.formats import LabelMapSink, NpzSink, PngSink, PolygonsSink, read_masks
from tests.adapters.scenes import any_masks, blank, same


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def equal_columns(one: Masks, other: Masks) -> bool:
    def same_array(a: Any, b: Any) -> bool:
        return (a is None) == (b is None) and (a is None or (a.dtype == b.dtype and np.array_equal(a, b)))

    arrays = ("scores", "prompt_index", "logits", "stability")
    return (one.labels, one.ids) == (other.labels, other.ids) and all(
        same_array(getattr(one, name), getattr(other, name)) for name in arrays
    )


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_npz_brings_back_everything_exactly(masks: Masks, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("npz") / "masks.npz"
    count = len(masks)
    full = masks.replace(logits=np.random.default_rng(0).normal(size=(count, 4, 5)), stability=np.linspace(0, 1, count))
    for given_masks in (masks, full):
        NpzSink(path).write("a.jpg", blank(masks), given_masks)
        back = read_masks(path)
        assert same(back, given_masks)
        assert equal_columns(back, given_masks)


def test_npz_can_be_read_with_numpy_alone(folder: Path) -> None:
    pixels = np.random.default_rng(1).random((3, 20, 30)) < 0.1
    NpzSink(folder).write("a.jpg", Image(np.zeros((20, 30, 3), np.uint8)), Masks.from_array(pixels))
    with np.load(folder / "a.jpg.npz") as archive:
        for i, (x1, y1, x2, y2) in enumerate(archive["boxes"]):
            low, high = archive["offsets"][i : i + 2]
            shape = y2 - y1, x2 - x1
            crop = np.unpackbits(archive["bits"][low:high], count=shape[0] * shape[1]).reshape(shape)
            assert np.array_equal(crop, pixels[i, y1:y2, x1:x2])


@pytest.mark.parametrize("damage", ["missing", "torn", "text", "other", "short"])
def test_npz_that_is_not_ours_or_not_whole_is_one_line(damage: str, folder: Path) -> None:
    path = folder / "masks.npz"
    NpzSink(path).write("a.jpg", blank(Masks.empty(3, 3)), Masks.from_array(np.ones((2, 3, 3), bool)))
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "torn":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "text":
        path.write_text("masks")
    elif damage == "other":
        np.savez(path, a=np.zeros(3))
    else:
        with np.load(path) as archive:
            np.savez(path, **{**archive, "bits": np.zeros(0, np.uint8)})
    with pytest.raises(MaskError, match=r"masks\.npz") as caught:
        read_masks(path)
    assert "\n" not in str(caught.value)


def test_npz_holds_no_dates_and_no_pickles(folder: Path) -> None:
    NpzSink(folder).write("a.jpg", blank(Masks.empty(3, 3)), Masks.empty(3, 3))
    with zipfile.ZipFile(folder / "a.jpg.npz") as archive:
        assert {info.date_time[0] for info in archive.infolist()} == {1980}
    with np.load(folder / "a.jpg.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype != object for name in arrays.files)


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_png_has_a_picture_and_a_row_for_every_mask(masks: Masks, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("png")
    PngSink(folder).write("a/b.jpg", blank(masks), masks)
    pictures = sorted((folder / "a" / "b.jpg").glob("*.png"))
    dense = [np.asarray(Pillow.open(path)) for path in pictures]
    assert [path.name for path in pictures] == [f"{i:03}.png" for i in range(len(masks))]
    assert all(array.dtype == np.uint8 and set(np.unique(array)) <= {0, 255} for array in dense)
    assert np.array_equal(np.array(dense, bool).reshape(masks.to_array().shape), masks.to_array())
    text = (folder / "a" / "b.jpg" / "masks.csv").read_bytes().decode("utf-8")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [row["file"] for row in rows] == [path.name for path in pictures]
    assert [int(row["area"]) for row in rows] == masks.areas.tolist()
    assert [row["label"] for row in rows] == [label or "" for label in masks.labels]
    assert [[int(row[edge]) for edge in ("x1", "y1", "x2", "y2")] for row in rows] == masks.boxes.tolist()


def test_png_replaces_an_images_folder_and_never_mixes_two_answers(folder: Path) -> None:
    three = Masks.from_array(np.ones((3, 4, 4), bool))
    for masks in (three, three[:1]):
        PngSink(folder).write("a.jpg", blank(masks), masks)
    assert sorted(path.name for path in (folder / "a.jpg").iterdir()) == ["000.png", "masks.csv"]


def test_png_leaves_a_folder_alone_that_holds_something_else(folder: Path) -> None:
    (folder / "a.jpg").mkdir()
    (folder / "a.jpg" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds something else"):
        PngSink(folder).write("a.jpg", blank(Masks.empty(2, 2)), Masks.empty(2, 2))
    assert (folder / "a.jpg" / "notes.txt").read_text() == "mine"


@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_a_label_map_says_which_mask_each_pixel_is_in_the_smallest_first(
    masks: Masks, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("labelmap") / "map.png"
    LabelMapSink(path).write("a.jpg", blank(masks), masks)
    with Pillow.open(path) as picture:
        assert picture.mode in ("I;16", "I")
        page = np.asarray(picture).astype(int)
    dense = masks.to_array()
    for y, x in np.ndindex(page.shape):
        there = [i for i in range(len(masks)) if dense[i, y, x]]
        if page[y, x] == 0:
            assert not there
        else:
            assert page[y, x] - 1 in there
            assert masks.areas[page[y, x] - 1] == min(masks.areas[i] for i in there)


def test_a_label_map_numbers_more_masks_than_8_bits_hold(folder: Path) -> None:
    pixels = np.zeros((400, 20, 20), bool)
    for i in range(400):
        pixels[i, i // 20, i % 20] = True
    LabelMapSink(folder).write("a.jpg", blank(Masks.empty(20, 20)), Masks.from_array(pixels))
    with Pillow.open(folder / "a.jpg.png") as picture:
        assert np.array_equal(np.asarray(picture).ravel(), np.arange(1, 401))


def test_a_picture_larger_than_png_files_can_be_is_one_line(folder: Path) -> None:
    wide = Masks.empty(1_000_001, 1)
    with pytest.raises(InputError, match="sides of at most 1000000 pixels; got 1000001×1"):
        LabelMapSink(folder).write("a.jpg", blank(Masks.empty(2, 2)), wide)


def test_a_label_map_of_too_many_masks_is_refused_in_one_line(folder: Path) -> None:
    many = Masks.from_runs(np.full(65_536, 4), np.arange(65_537), 2, 2)
    with pytest.raises(InputError, match=r"a\.jpg: a label map holds at most 65535 masks; got 65536"):
        LabelMapSink(folder).write("a.jpg", blank(Masks.empty(2, 2)), many)


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_polygons_draw_the_masks_that_they_were_made_of(masks: Masks, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("polygons") / "masks.json"
    PolygonsSink(path).write("a/b.jpg", blank(masks), masks)
    document = json.loads(path.read_text("utf-8"))
    assert (document["image"], document["width"], document["height"]) == ("a/b.jpg", masks.width, masks.height)
    rings = [
        [ring for region in row["regions"] for ring in (region["exterior"], *region["holes"])]
        for row in document["masks"]
    ]
    assert same(Masks.from_polygons(rings, masks.width, masks.height), masks)
    assert [row["label"] for row in document["masks"]] == list(masks.labels)
    assert [row["id"] for row in document["masks"]] == list(masks.ids)
    assert [np.float32(row["score"]) for row in document["masks"]] == masks.scores.tolist()
    assert [row["box"] for row in document["masks"]] == masks.boxes.tolist()


def test_simpler_polygons_take_fewer_points(folder: Path) -> None:
    y, x = np.mgrid[:100, :100]
    disc = Masks.from_array(((x - 50) ** 2 + (y - 50) ** 2 < 1600)[None])
    sizes = []
    for tolerance in (0.0, 1.0):
        PolygonsSink(folder / "one.json", tolerance=tolerance).write("a.jpg", blank(disc), disc)
        (row,) = json.loads((folder / "one.json").read_text())["masks"]
        sizes.append(len(row["regions"][0]["exterior"]))
    assert sizes[1] < sizes[0] / 4
