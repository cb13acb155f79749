"""Prompts in files: what can be written, what comes back, and how mistakes are pointed out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from samovar.errors import PromptError
from samovar.masks import Masks
from samovar.prompt_files import FIELDS, load_prompts, save_prompts
from samovar.prompts import Exemplar, Prompt, Prompts

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
MASK[2, 3] = False
RLE = Masks.from_array(MASK[None]).to_coco_rle()[0]


def one_image(source: Any) -> Prompts:
    prompts = load_prompts(source)
    assert isinstance(prompts, Prompts)
    return prompts


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "prompts.json"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# ------------------------------------------------------------------------------------------- JSON


def test_a_list_of_objects_is_the_prompts_of_one_image(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        json.dumps(
            [
                {"points": [[1, 2], [3, 4]], "point_labels": [1, 0], "label": "bus", "id": 7},
                {"box": [0, 1, 5, 6.5], "points": [[2, 2]]},
                {"mask": RLE},
                {"text": "a red car", "box": None},
            ]
        ),
    )
    prompts = one_image(path)
    assert prompts.point_offsets.tolist() == [0, 2, 3, 3, 3]
    assert prompts.point_labels.tolist() == [1, 0, 1]
    assert prompts.boxes[1].tolist() == [0, 1, 5, 6.5]
    assert (prompts.labels, prompts.ids) == (("bus", None, None, None), (7, None, None, None))
    np.testing.assert_array_equal(cast("Masks", prompts[2].mask).to_array()[0], MASK)
    assert prompts[3].text == "a red car"
    assert prompts.kinds == {"points", "box", "mask", "text"}


def test_an_uncompressed_rle_and_a_picture_are_masks_too(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Pillow.fromarray(MASK).save(tmp_path / "masks" / "one-bit.png")
    Pillow.fromarray(MASK.astype(np.uint8)).save(tmp_path / "masks" / "small-numbers.png")
    Pillow.fromarray(MASK.astype(np.uint16)).save(tmp_path / "masks" / "sixteen-bit.png")
    Pillow.fromarray(np.stack([MASK * np.uint8(9)] * 3, axis=2)).save(tmp_path / "masks" / "colour.png")
    indexed = Pillow.fromarray(np.where(MASK, 0, 1).astype(np.uint8), "P")
    indexed.putpalette([255, 0, 0, 0, 0, 0])  # what counts is the colour, not the number
    indexed.save(tmp_path / "masks" / "palette.png")
    uncompressed = Masks.from_array(MASK[None]).to_coco_rle(compressed=False)[0]
    names = [f"masks/{name}.png" for name in ("one-bit", "small-numbers", "sixteen-bit", "colour", "palette")]
    path = written(tmp_path, json.dumps([{"mask": mask} for mask in [uncompressed, *names]]))
    for prompt in one_image(path):
        np.testing.assert_array_equal(cast("Masks", prompt.mask).to_array()[0], MASK)


def test_an_exemplar_is_an_image_beside_the_file_and_a_mask_of_its_size(tmp_path: Path) -> None:
    Pillow.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(tmp_path / "shown.png")
    Pillow.fromarray(MASK).save(tmp_path / "mask.png")
    examples = [{"exemplar": {"image": "shown.png", "mask": mask}, "label": "cup"} for mask in (RLE, "mask.png")]
    for prompt in one_image(written(tmp_path, json.dumps(examples))):
        assert prompt.kinds == {"exemplar"}
        assert prompt.exemplar is not None
        assert prompt.exemplar.image.pixels[0, 0].tolist() == [90, 90, 90]
        np.testing.assert_array_equal(prompt.exemplar.mask.to_array()[0], MASK)


def test_an_object_of_images_gives_each_image_its_own(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a.jpg": [{"box": [0, 0, 4, 4]}], "b/c.jpg": {"points": [[1, 1]]}, "d.jpg": []}')
    images = load_prompts(path)
    assert isinstance(images, dict)
    assert {name: (len(prompts), sorted(prompts.kinds)) for name, prompts in images.items()} == {
        "a.jpg": (1, ["box"]),
        "b/c.jpg": (1, ["points"]),
        "d.jpg": (0, []),
    }
    assert load_prompts({}) == {}


def test_one_object_is_one_prompt_and_bare_rows_are_boxes_or_points() -> None:
    assert one_image({"box": [0, 0, 4, 4], "id": "x"}).ids == ("x",)
    assert one_image([[0, 0, 4, 4], [1, 1, 2, 2]]).kinds == {"box"}
    assert one_image([[0, 0], [1, 1], [2, 2]]).point_offsets.tolist() == [0, 1, 2, 3]
    assert one_image([[0, 0, 4, 4], [1, 1]]).kinds == {"box", "points"}
    assert len(one_image([])) == 0


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    assert len(one_image(written(tmp_path, b"\xef\xbb\xbf[[1, 2]]"))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{]", "line 1 column 3: expected JSON; got an error there"),
        ('[\n{"box": [1, 2, 3 4]}]', "line 2 column 18: expected JSON"),
        ("", "line 1 column 1: expected JSON"),
        (b"[\xff]", "expected UTF-8 text; got byte 1"),
        ("[" * 100_000, "expected a list of prompts; got JSON nested too deep"),
        ("5", "expected a list of prompts or an object image → list; got a number"),
        ("null", "expected a list .* got null"),
        ('"cat"', "expected a list .* got a string"),
        ('[{"box": [0, 0, 1, 1]}, {"box": [5, 0, 1, 1]}]', "item 1: box must have x1 < x2"),
        ('[{"box": [0, 0, 1, 1]}, 5]', "item 1: expected a JSON object or a list; got a number; write e.g."),
        ('[{"bbox": [0, 0, 1, 1]}]', "item 0: expected the keys .* got 'bbox'; did you mean box?"),
        ('[{"box": [0, 0, 1, 1], "colour": 3}]', "item 0: .* got 'colour'; remove it"),
        ('[{"box": ["0", "0", "1", "1"]}]', "item 0: box must be 4 numbers"),
        ('[{"box": [0, 0, NaN, 1]}]', "item 0: box must be finite"),
        ('[{"box": [0, 0, 1e999, 1]}]', "item 0: box must be finite"),
        ('[{"box": [0, 0, 1]}]', r"item 0: box must be 4 numbers x1 y1 x2 y2 in pixels; got shape \(3,\)"),
        ('[{"box": [0, 0, 1, 1], "label": 5}]', "item 0: label: expected a string or null; got a number"),
        ('[{"box": [0, 0, 1, 1], "id": true}]', "item 0: id: expected .* or null; got true or false"),
        ('[{"points": [[1, 2]]}, {"points": [[1, 2], [3]]}]', "item 1: points must be"),
        ('[{"points": [[1, 2]], "point_labels": [3]}]', "item 0: point_labels must be 1"),
        ('[{"point_labels": [1]}]', "item 0: point_labels given without points"),
        ('[{"label": "bus"}]', "item 0: empty prompt"),
        ("[{}]", "item 0: empty prompt"),
        ("[[1, 2, 3]]", "item 0: a row must be a box x1 y1 x2 y2 or a point x y; got 3 entries"),
        ('[[1, 2, 3, 4], [1, 2, "3", 4]]', "item 1: box must be 4 numbers"),
        ('[{"mask": 5}]', "item 0: mask: expected .* or null; got a number; write COCO run lengths"),
        ('[{"mask": {"size": [4, 4]}}]', "item 0: "),
        ('[{"mask": {"size": [4, 4], "counts": [3, 3]}}]', "item 0: "),
        ('[{"mask": "missing.png"}]', "item 0: .*missing.png: expected an image file, got no such file"),
        ('{"a.jpg": [{"box": [0, 0, 1, 1]}, {"text": ""}]}', '"a.jpg": item 1: text must be words'),
        ('{"a.jpg": {"b.jpg": []}}', '"a.jpg": expected prompts; got an object with none of their keys'),
        ('{"a.jpg": 5}', '"a.jpg": expected a list of prompts'),
        ('{"a.jpg": [], "a.jpg": []}', "expected every key once; got 'a.jpg' twice"),
        ('[{"box": [0, 0, 1, 1], "box": [0, 0, 2, 2]}]', "expected every key once; got 'box' twice"),
    ],
)
def test_a_mistake_is_one_line_with_file_place_and_key(tmp_path: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(PromptError, match=rf"^prompts\.json: {message}") as caught:
        load_prompts(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        PromptError, match=r"^clicks\.json: expected a file of prompts; got no such file; check the path"
    ):
        load_prompts(tmp_path / "clicks.json")
    with pytest.raises(PromptError, match=r"^clicks\.csv: expected a \.json, \.npy or \.npz file; got \.csv"):
        load_prompts(tmp_path / "clicks.csv")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(PromptError, match=r"^folder\.json: expected a readable \.json file"):
        load_prompts(tmp_path / "folder.json")


# ------------------------------------------------------------------------------------------- arrays


def test_npy_files_hold_boxes_or_points(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 4, 4], [1, 2, 3, 4]], np.int64)
    np.save(tmp_path / "boxes.npy", boxes)
    np.save(tmp_path / "points.npy", boxes[:, :2])
    np.testing.assert_array_equal(one_image(tmp_path / "boxes.npy").boxes, boxes)
    np.testing.assert_array_equal(one_image(tmp_path / "points.npy").points, boxes[:, :2])


def test_npz_files_hold_columns(tmp_path: Path) -> None:
    boxes = np.array([[0, 0, 4, 4], [np.nan] * 4])
    points = np.array([[1, 1], [2, 2], [3, 3]])
    np.savez(
        tmp_path / "full.npz",
        boxes=boxes,
        points=points,
        point_labels=np.array([1, 0, 1]),
        point_offsets=np.array([0, 1, 3]),
        labels=np.array(["bus", "car"]),
        ids=np.array([3, 4]),
    )
    first, second = one_image(tmp_path / "full.npz")
    assert first.kinds == {"box", "points"}
    assert (first.label, first.id) == ("bus", 3)
    assert second.kinds == {"points"}
    assert cast("Any", second.point_labels).tolist() == [0, 1]
    np.savez(tmp_path / "pairs.npz", boxes=boxes[[0, 0]], points=points[:2])
    assert [prompt.kinds for prompt in one_image(tmp_path / "pairs.npz")] == [{"box", "points"}] * 2
    np.savez(tmp_path / "boxes.npz", boxes=boxes[:1], labels=np.array(["bus"]))
    assert one_image(tmp_path / "boxes.npz").labels == ("bus",)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"boxes": np.zeros((1, 3))}, r"boxes must be N×4"),
        ({"boxes": np.zeros((1, 4))}, "box must have x1 < x2"),
        ({"bboxes": np.ones((1, 4))}, "expected the arrays boxes, points, .*; got 'bboxes'"),
        ({"labels": np.array(["a"])}, "expected boxes or points; got labels"),
        ({}, "expected boxes or points; got no array"),
        ({"points": np.ones((2, 2)), "boxes": np.ones((1, 4))}, r"boxes must be one per prompt \(2\); got 1"),
        (
            {"points": np.ones((2, 2)), "point_offsets": np.array([0, 5])},
            "point_offsets must rise from 0 to 2",
        ),
        ({"points": np.ones((2, 2)), "point_offsets": np.array([0.0, 2.0])}, "point_offsets must be integers"),
        ({"points": np.ones(2)}, "boxes and points must be"),
        ({"points": np.array(["a"])}, "points must be"),
        ({"points": np.ones((1, 2)), "point_labels": np.array([7])}, "point_labels must be 1"),
        ({"points": np.ones((1, 2)), "point_labels": np.array([0.5])}, "point_labels must be 1"),
        ({"points": np.ones((1, 2)), "labels": np.array(["a", "b"])}, r"labels must be one per prompt \(1\); got 2"),
        ({"points": np.ones((1, 2)), "labels": np.array([5.0])}, "label must be a string"),
        ({"points": np.array([[np.inf, 1]])}, "points must be finite"),
    ],
)
def test_wrong_arrays_are_one_line(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "prompts.npz", **arrays)
    with pytest.raises(PromptError, match=rf"^prompts\.npz: {message}") as caught:
        load_prompts(tmp_path / "prompts.npz")
    assert "\n" not in str(caught.value)


def test_torn_and_pickled_array_files_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.npz"
    np.savez(whole, boxes=np.ones((5, 4)))
    data = whole.read_bytes()
    np.save(tmp_path / "pickled.npy", np.array([{}], object), allow_pickle=True)
    for name, content in {"torn.npz": data[: len(data) // 2], "empty.npy": b"", "text.npy": b"hello"}.items():
        (tmp_path / name).write_bytes(content)
    for name in ("torn.npz", "empty.npy", "text.npy", "pickled.npy"):
        with pytest.raises(PromptError, match=rf"^{name}: expected a readable .np. file; got .*; write it again"):
            load_prompts(tmp_path / name)


# ------------------------------------------------------------------------------------------- writing

number = st.floats(-1e6, 1e6, width=32)
rich = st.builds(
    Prompt,
    points=st.none() | st.lists(st.tuples(number, number), min_size=1, max_size=3),
    box=st.tuples(number, number).map(lambda corner: (corner[0], corner[1], corner[0] + 1000, corner[1] + 1000)),
    mask=st.sampled_from([None, MASK]),
    text=st.none() | st.text(min_size=1).filter(str.strip),
    label=st.none() | st.text(),
    id=st.none() | st.integers() | st.text(),
)


@pytest.mark.slow
@given(rows=st.lists(rich, max_size=4))
def test_what_is_saved_is_loaded_exactly(tmp_path_factory: pytest.TempPathFactory, rows: list[Prompt]) -> None:
    path = tmp_path_factory.mktemp("saved") / "prompts.json"
    save_prompts(rows, path)
    loaded, wanted = one_image(path), Prompts.of(rows)
    for name in ("boxes", "points", "point_labels", "point_offsets"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(wanted, name))
    assert (loaded.texts, loaded.labels, loaded.ids) == (wanted.texts, wanted.labels, wanted.ids)
    for one, other in zip(loaded, rows):
        assert (one.mask is None) == (other.mask is None)
        if isinstance(one.mask, Masks) and isinstance(other.mask, Masks):
            np.testing.assert_array_equal(one.mask.to_array(), other.mask.to_array())


def test_prompts_of_many_images_are_saved_by_name(tmp_path: Path) -> None:
    images = {
        "a.jpg": Prompts.from_boxes([[0, 0, 1, 1]]),
        'ü "b".jpg': Prompts.from_points([[1, 2]]),
        "c.jpg": Prompts.of([]),
    }
    save_prompts(images, tmp_path / "prompts.json")
    loaded = load_prompts(tmp_path / "prompts.json")
    assert isinstance(loaded, dict)
    assert {name: sorted(prompts.kinds) for name, prompts in loaded.items()} == {
        name: sorted(prompts.kinds) for name, prompts in images.items()
    }


def test_numbers_are_written_as_short_as_they_can_be(tmp_path: Path) -> None:
    save_prompts([Prompt(box=(0.1, 0.2, 100, 200.5), label="bus")], tmp_path / "prompts.json")
    assert '{"box": [0.1, 0.2, 100.0, 200.5], "label": "bus"}' in (tmp_path / "prompts.json").read_text()


def test_what_json_cannot_hold_is_refused_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    save_prompts([Prompt(text="kept")], path)
    exemplar = Exemplar(np.zeros((6, 8, 3), np.uint8), MASK)
    for prompt, message in [
        (Prompt(mask=np.full((4, 4), -1.0)), "prompt 1: expected a mask of pixels; got low-resolution logits"),
        (Prompt(exemplar=exemplar), "prompt 1: expected what JSON can hold; got an exemplar"),
    ]:
        with pytest.raises(PromptError, match=message):
            save_prompts([Prompt(text="cat"), prompt], path)
    with pytest.raises(PromptError, match=r"expected a \.json file; got \.txt"):
        save_prompts([], tmp_path / "prompts.txt")
    assert one_image(path).texts == ("kept",)
    assert [file.name for file in tmp_path.iterdir()] == ["prompts.json"]


def test_the_reference_page_names_every_key(repository: Path) -> None:
    page = (repository / "docs" / "reference" / "prompts.md").read_text(encoding="utf-8")
    assert all(f"| `{field}` |" in page for field in FIELDS)
