"""Label Studio's JSON: written, read back exactly, and read as it is exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samovar import Image, Masks, Prompt, Prompts
from samovar.errors import InputError
from samovar.testing import MaskSinkTests
from samovar.testing.sinks import SinkFactory
from samovar_adapters.label_studio.exports import (
    LabelStudioSink,
    LabelStudioSource,
    annotation_of,
    image_name,
    regions_of,
    task_of,
)


class TestSink(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return LabelStudioSink


@pytest.mark.slow
@given(arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))), st.data())
def test_masks_come_back_exactly_with_labels_scores_and_ids(array: Any, data: st.DataObject) -> None:
    array[:, 0, 0] = True  # an empty mask is no region
    count, height, width = array.shape
    labels = data.draw(st.lists(st.none() | st.text(min_size=1, max_size=5), min_size=count, max_size=count))
    scores = np.linspace(0.1, 0.9, count, dtype=np.float32)
    given_masks = Masks.from_array(array).replace(labels=labels, scores=scores, ids=[f"id-{i}" for i in range(count)])
    task = json.loads(json.dumps(task_of("a.jpg", given_masks)))
    read = [annotation_of("here", region, width, height) for region in regions_of(task)]
    assert [one and (one.label, one.id) for one in read] == list(zip(labels, given_masks.ids))
    assert Masks.concat([one.mask(width, height) for one in read if one]).equals(given_masks)
    assert [region["score"] for region in regions_of(task)] == scores.tolist()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("/data/upload/1/e3ff204d-a photo.jpg", "a photo.jpg"),
        ("/data/upload/1/e3ff204d-a%20photo.jpg", "a photo.jpg"),
        ("/ls/data/upload/1/e3ff204d-a.jpg", "a.jpg"),
        ("/ls/data/local-files/?d=set/a.jpg", "set/a.jpg"),
        ("/data/local-files/?d=set/a%20photo.jpg", "set/a photo.jpg"),
        ("https://example.com/set/a.jpg?token=1", "set/a.jpg"),
        ("s3://bucket/set/a.jpg", "set/a.jpg"),
        ("set/a.jpg", "set/a.jpg"),
    ],
)
def test_a_pictures_name_is_found_in_its_address(reference: str, name: str) -> None:
    assert image_name(reference) == name


def exported(tmp_path: Path, *regions: dict[str, Any]) -> Path:
    size = {"original_width": 40, "original_height": 20, "to_name": "image", "from_name": "x"}
    cancelled = {"was_cancelled": True, "result": [{"type": "choices", "value": {}}]}
    annotation = {"was_cancelled": False, "result": [{**size, **region} for region in regions]}
    task = {"id": 7, "data": {"image": "/data/upload/1/e3ff204d-a.png"}, "annotations": [cancelled, annotation]}
    file = tmp_path / "export.json"
    file.write_text(json.dumps([task]))
    return file


def picture() -> Image:
    return Image(np.zeros((20, 40, 3), np.uint8), name="a.png")


def test_an_export_gives_boxes_and_points_as_they_were_drawn(tmp_path: Path) -> None:
    rectangle = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": ["cat"]}
    point = {"x": 50, "y": 50, "width": 1, "keypointlabels": ["dog"]}
    file = exported(
        tmp_path,
        {"id": "r", "type": "rectanglelabels", "value": rectangle},
        {"type": "choices", "value": {"choices": ["good"]}},
        {"id": "p", "type": "keypointlabels", "value": point},
    )
    [prompts] = LabelStudioSource(str(file)).prompts([picture()])
    first, second = prompts
    assert first.box is not None
    assert (first.box.tolist(), first.label, first.id) == ([10, 10, 30, 15], "cat", "r")
    assert second.points is not None
    assert (second.points.tolist(), second.label) == ([[20, 10]], "dog")


def test_what_the_sink_writes_the_source_reads(tmp_path: Path) -> None:
    array = np.zeros((2, 20, 40), bool)
    array[0, 3:9, 4:20] = array[1, 10:15, 30:33] = True
    masks = Masks.from_array(array).replace(labels=["cat", None], ids=["a", "b"])
    sink = LabelStudioSink(tmp_path / "out")
    sink.write("a.png", picture(), masks)
    sink.close()
    [prompts] = LabelStudioSource(str(tmp_path / "out"), "masks").prompts([picture()])
    read: list[Prompt] = list(Prompts.of(prompts))
    assert [(one.label, one.id) for one in read] == [("cat", "a"), (None, "b")]
    assert Masks.concat([one.mask for one in read if isinstance(one.mask, Masks)]).equals(masks)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not valid JSON"),
        ("{}", "list of tasks"),
        ("[7]", "expected an object with data"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(content)
    with pytest.raises(InputError, match=says):
        LabelStudioSource(str(file))


def test_regions_of_another_size_or_torn_are_named(tmp_path: Path) -> None:
    value = {"x": 1, "y": 1, "width": 1, "height": 1}
    wrong = {"type": "rectanglelabels", "value": value, "original_width": 41}
    with pytest.raises(InputError, match=r"task 7: region 0.*41×20"):
        LabelStudioSource(str(exported(tmp_path, wrong))).prompts([picture()])
    torn = {"type": "brushlabels", "value": {"rle": [1, 2]}}
    with pytest.raises(InputError, match="task 7: region 0"):
        LabelStudioSource(str(exported(tmp_path, torn))).prompts([picture()])


def found(
    tmp_path: Path, data: dict[str, Any], *regions: dict[str, Any], names: tuple[str, ...]
) -> list[list[str | None]]:
    """The labels of what is found on images of these names."""
    file = exported(tmp_path)
    size = {"original_width": 40, "original_height": 20, "to_name": "image", "from_name": "x"}
    task = {"id": 7, "data": data, "annotations": [{"result": [{**size, **region} for region in regions]}]}
    file.write_text(json.dumps([task]))
    images = [Image(np.zeros((20, 40, 3), np.uint8), name=name) for name in names]
    return [list(prompts.labels) for prompts in LabelStudioSource(str(file), "boxes").prompts(images)]


def box(label: str, **more: Any) -> dict[str, Any]:
    value = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0, "rectanglelabels": [label]}
    return {"id": label, "type": "rectanglelabels", "value": value, **more}


UPLOAD = "/data/upload/1/e3ff204d-"
A, B = f"{UPLOAD}a.png", f"{UPLOAD}b.png"


@pytest.mark.parametrize(
    "data",
    [
        {"title": "A cup", "image": A},
        {"id": "17", "note": "see a.pdf", "image": A},
        {"image": A, "title": "x"},
        {"meta": {"author": "me"}, "image": "/ls" + A},
        {"photo": {"url": A}},
        {"image": "a.png"},
        {"image": "http://localhost:8080" + A},
        {"image": "s3://bucket/a.png"},
        {"image": "a"},
    ],
)
def test_the_image_is_found_among_the_other_columns(tmp_path: Path, data: dict[str, Any]) -> None:
    name = "a" if data.get("image") == "a" else "a.png"
    assert found(tmp_path, data, box("cup"), names=(name,)) == [["cup"]]


@pytest.mark.parametrize(
    ("data", "first", "second"),
    [
        ({"left": A, "right": B}, {"to_name": "left"}, {"to_name": "right"}),
        ({"text": "x", "left": {"url": A}, "right": {"url": B}}, {"to_name": "left"}, {"to_name": "right"}),
        ({"pages": [A, B]}, {"item_index": 0}, {"item_index": 1}),
        ({"pages": [A, B]}, {}, {"item_index": 1}),
        ({"cover": A, "image": [A, B]}, {"item_index": 0}, {"item_index": 1}),
        ({"document": [{"page": A}, {"page": B}]}, {"to_name": "page_0"}, {"to_name": "page_1"}),
    ],
)
def test_every_region_is_on_the_image_that_it_was_drawn_on(
    tmp_path: Path, data: dict[str, Any], first: dict[str, Any], second: dict[str, Any]
) -> None:
    regions = box("one", **first), box("two", **second)
    assert found(tmp_path, data, *regions, names=("a.png", "b.png")) == [["one"], ["two"]]


def test_a_region_of_which_nobody_can_tell_the_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"region 0: it is on 'img-a'; expected one of the task's images left, right"):
        found(tmp_path, {"left": A, "right": B}, box("x", to_name="img-a"), box("y", to_name="img-b"), names=("a.png",))


def test_a_second_image_that_nobody_drew_on_does_not_matter(tmp_path: Path) -> None:
    data = {"image": A, "thumbnail": B}
    assert found(tmp_path, data, box("one", to_name="img"), names=("a.png", "b.png")) == [["one"], []]


def test_names_that_uploading_changed_are_found(tmp_path: Path) -> None:
    data = {"image": f"{UPLOAD}p_1.jpg"}
    assert found(tmp_path, data, box("one"), names=("p (1).jpg",)) == [["one"]]
    assert found(tmp_path, {"image": "s3://bucket/p_1.jpg"}, box("one"), names=("p (1).jpg",)) == [[]]


def test_labels_of_a_labels_tag_are_read(tmp_path: Path) -> None:
    shape = box("x", type="rectangle")
    label = {"id": "x", "type": "labels", "value": {**shape["value"], "labels": ["dog"]}}
    assert found(tmp_path, {"image": A}, shape, label, names=("a.png",)) == [["dog"]]
