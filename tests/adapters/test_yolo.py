"""YOLO data sets: written so that trainers find their way, and read with whatever lines they have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from samovar import Image, Masks, Prompts
from samovar.errors import InputError
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.formats import YoloSink, YoloSource, yolo
from samovar_adapters.formats.yolo import names_in, to_yaml
from tests.adapters.scenes import any_masks, blank, names, photos


@pytest.fixture
def picture() -> Image:
    return Image(np.zeros((30, 40, 3), np.uint8), name="a.jpg")


def dataset(folder: Path, lines: str, **files: str) -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / "a.txt").write_text(lines)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


def ask(path: Path, image: Image, wanted: Any = "boxes") -> Prompts:
    (prompts,) = YoloSource(str(path), wanted).prompts([image])
    return prompts


class TestYoloBoxes(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box",)

    @pytest.fixture
    def images(self, data_folder: Path) -> list[Image]:
        return [image for image, _ in photos(data_folder, 3)]

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> YoloSource:
        return yolo.boxes(written(data_folder, tmp_path))


class TestYoloMasks(TestYoloBoxes):
    produces: ClassVar[Sequence[Kind]] = ("mask",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> YoloSource:
        return yolo.masks(written(data_folder, tmp_path))


class TestYoloPoints(TestYoloBoxes):
    produces: ClassVar[Sequence[Kind]] = ("points",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> YoloSource:
        return yolo.points(written(data_folder, tmp_path))


def written(data_folder: Path, folder: Path, **options: Any) -> str:
    with YoloSink(folder, **options) as sink:
        for image, masks in photos(data_folder, 3):
            labelled = masks.replace(labels=[f"thing {i % 3}" for i in range(len(masks))])
            sink.write(image.name, image, labelled)
    return str(folder)


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_without_tolerance_masks_come_back_exactly(masks: Masks, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Six digits of a fraction are far finer than a pixel, and a pixel's centre is half a pixel from any outline."""
    folder = tmp_path_factory.mktemp("yolo")
    image = blank(masks, "x.png")
    with YoloSink(folder, tolerance=0) as sink:
        sink.write("x.png", image, masks)
    prompts = ask(folder, image, "masks")
    kept = masks[masks.areas > 0]
    assert len(prompts) == len(kept)
    assert all(isinstance(got, Masks) and got.equals(mask) for got, mask in zip(prompts.masks, kept))
    assert [label or "object" for label in kept.labels] == list(prompts.labels)


def test_with_the_usual_tolerance_real_masks_come_back_nearly(data_folder: Path, tmp_path: Path) -> None:
    path = written(data_folder, tmp_path)
    for image, masks in photos(data_folder, 3):
        prompts = ask(Path(path), image, "masks")
        large = [(mask, got) for mask, got in zip(masks, prompts.masks) if mask.areas[0] > 500]
        assert len(large) >= 3
        ious = [float(mask.iou(got)[0, 0]) for mask, got in large if isinstance(got, Masks)]
        assert np.mean(ious) > 0.96
        assert min(ious) > 0.9


def test_trainers_that_fill_the_points_with_opencv_see_the_masks(data_folder: Path, tmp_path: Path) -> None:
    """They scale to whole pixels and call `fillPoly`, which also paints the outline: half a pixel larger all round."""
    folder = Path(written(data_folder, tmp_path))
    for image, masks in photos(data_folder, 3):
        lines = (folder / "labels" / Path(image.name).with_suffix(".txt").name).read_text().splitlines()
        assert len(lines) == len(masks)
        for line, mask in zip(lines, masks):
            if mask.areas[0] < 4000:
                continue
            points = np.array(line.split()[1:], float).reshape(-1, 2) * (image.width, image.height)
            page = np.zeros((image.height, image.width), np.uint8)
            cv2.fillPoly(page, [points.astype(np.int32)], 1)
            assert mask.iou(Masks.from_array(page[None]))[0, 0] > 0.85


def test_the_folder_is_a_data_set(tmp_path: Path) -> None:
    masks = Masks.from_array(np.ones((3, 4, 4), bool)).replace(labels=["bus", None, 'a "b": c'])
    with YoloSink(tmp_path) as sink:
        sink.write("x/a.jpg", blank(masks), masks)
        sink.write("x/b.jpg", blank(masks), masks[:0])
    assert names(tmp_path) == ["data.yaml", "labels", "train.txt"]
    assert (tmp_path / "train.txt").read_text() == "./images/x/a.jpg\n./images/x/b.jpg\n"
    assert names_in(tmp_path / "data.yaml") == {0: "bus", 1: "object", 2: 'a "b": c'}
    lines = (tmp_path / "labels" / "x" / "a.txt").read_text().splitlines()
    for number, line in enumerate(lines):
        first, *rest = line.split()
        assert first == str(number)
        assert {*zip(rest[::2], rest[1::2])} == {("0", "0"), ("1", "0"), ("1", "1"), ("0", "1")}
        assert len(rest) == 8
    assert len(lines) == 3
    assert (tmp_path / "labels" / "x" / "b.txt").read_text() == ""


def test_fractions_stay_in_the_image(data_folder: Path, tmp_path: Path) -> None:
    folder = Path(written(data_folder, tmp_path))
    for path in (folder / "labels").iterdir():
        values = [float(value) for line in path.read_text().splitlines() for value in line.split()[1:]]
        assert min(values) >= 0
        assert max(values) <= 1


def test_classes_keep_their_numbers_in_the_next_run(tmp_path: Path) -> None:
    one = Masks.from_array(np.ones((1, 4, 4), bool))
    for number, label in enumerate(["zebra", "ant", "zebra", "cat"]):
        with YoloSink(tmp_path) as sink:
            sink.write(f"{number}.jpg", blank(one), one.replace(labels=[label]))
    assert names_in(tmp_path / "data.yaml") == {0: "zebra", 1: "ant", 2: "cat"}
    assert [(tmp_path / "labels" / f"{n}.txt").read_text()[0] for n in range(4)] == ["0", "1", "0", "2"]


def test_images_that_yolo_cannot_tell_apart_are_refused_naming_both(tmp_path: Path) -> None:
    none = Masks.empty(4, 4)
    with YoloSink(tmp_path) as sink:
        sink.write("a.jpg", blank(none), none)
        with pytest.raises(InputError, match=r"a\.png and a\.jpg would share"):
            sink.write("a.png", blank(none), none)


def test_a_torn_line_of_the_list_is_written_again(tmp_path: Path) -> None:
    none = Masks.empty(4, 4)
    for key in ("a.jpg", "b.jpg"):
        with YoloSink(tmp_path) as sink:
            sink.write(key, blank(none), none)
    whole = (tmp_path / "train.txt").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "train.txt").write_bytes(whole[:length])
        with YoloSink(tmp_path) as sink:
            done = set(sink.done())
            assert done == ({"a.jpg"} if length >= len(whole) // 2 else set())
            for key in ("a.jpg", "b.jpg"):
                if key not in done:
                    sink.write(key, blank(none), none)
        assert (tmp_path / "train.txt").read_bytes() == whole


def test_a_data_set_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [a]\n")
    with pytest.raises(InputError, match="a YOLO data set that Samovar did not write"):
        YoloSink(tmp_path)
    assert names(tmp_path) == ["data.yaml"]


def test_boxes_outlines_and_confidences_are_told_apart(tmp_path: Path, picture: Image) -> None:
    lines = (
        "0 0.5 0.5 0.25 0.2\n1 0.5 0.5 0.25 0.2 0.9\n\n0 0.25 0.5 0.5 0.5 0.5 1\n7 0.25 0.5 0.5 0.5 0.5 1 0.25 1 0.87\n"
    )
    folder = dataset(tmp_path, lines, data_yaml="names: [cup, 'tea spoon']\n")
    prompts = ask(folder, picture)
    assert np.allclose(prompts.boxes, [[15, 12, 25, 18], [15, 12, 25, 18], [10, 15, 20, 30], [10, 15, 20, 30]])
    assert prompts.labels == ("cup", "tea spoon", "cup", "7")
    assert prompts.ids == (0, 1, 3, 4)
    assert ask(folder, picture, "points").points[0].tolist() == [20, 15]
    masks = YoloSource(str(folder), "masks")
    assert masks.prompts([picture])[0].ids == (3, 4)
    assert re.search(r"left out .*a\.txt: line 1: expected an outline; got only a box", str(masks.problems[0]))


def test_outlines_become_masks(tmp_path: Path, picture: Image) -> None:
    (mask,) = ask(dataset(tmp_path, "0 0.25 0.5 0.5 0.5 0.5 1 0.25 1\n"), picture, "masks").masks
    assert isinstance(mask, Masks)
    expected = np.zeros((30, 40), bool)
    expected[15:30, 10:20] = True
    assert np.array_equal(mask.to_array()[0], expected)


def test_boxes_are_clipped_to_the_image(tmp_path: Path, picture: Image) -> None:
    assert ask(dataset(tmp_path, "0 0 0 0.5 0.5\n"), picture).boxes.tolist() == [[0, 0, 10, 7.5]]


@pytest.mark.parametrize(
    "line", ["0", "0 0.1 0.2 0.3", "cup 0.5 0.5 0.1 0.1", "0 0.5 0.5 nan 0.1", "0 320 240 64 48", "0 a b c d", "{}"]
)
def test_a_malformed_line_is_named(line: str, tmp_path: Path, picture: Image) -> None:
    """It costs itself; with no other line it is the image's error."""
    found = YoloSource(str(dataset(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n")))
    assert found.prompts([picture])[0].ids == (0,)
    [note] = map(str, found.problems)
    assert re.search(r"left out .*labels/a\.txt: line 2: expected a class number and a box", note)
    assert "\n" not in note
    with pytest.raises(InputError, match=r"labels/a\.txt: line 1: expected a class number and a box"):
        ask(dataset(tmp_path, f"{line}\n"), picture)


POSES = {
    "0 0.5 0.5 0.5 0.5 0.1 0.1 0.2 0.2": "[2, 2]",
    "0 0.5 0.5 0.5 0.5 0.1 0.1 1 0.2 0.2 2": "[2, 3]",
    "0 0.5 0.5 0.5 0.5 0.1 0.1 1 0.2 0.2 2 0.9 7": "[2, 3]",
    "0 0.5 0.5 0.5 0.5 0.9": "[2, 3]",
}


@pytest.mark.parametrize("line", POSES)
def test_poses_are_their_boxes(line: str, tmp_path: Path, picture: Image) -> None:
    folder = dataset(tmp_path, line, data_yaml=f"kpt_shape: {POSES[line]}\nnames: [cup]\n")
    assert ask(folder, picture).boxes.tolist() == [[10, 7.5, 30, 22.5]]


def test_a_line_of_another_length_than_poses_is_refused(tmp_path: Path, picture: Image) -> None:
    folder = dataset(tmp_path, "0 0.3 0.3 0.5 0.3 0.5 0.5 0.3 0.5\n", data_yaml="kpt_shape: [17, 3]\nnames: [cup]\n")
    with pytest.raises(InputError, match="expected a box, or one with 51 numbers of key points"):
        ask(folder, picture)


def test_tracks_are_their_boxes(tmp_path: Path, picture: Image) -> None:
    lines = "0 0.5 0.5 0.5 0.5 0.93 1\n0 0.5 0.5 0.5 0.5 0.8 12\n"
    assert ask(dataset(tmp_path, lines), picture).boxes.tolist() == [[10, 7.5, 30, 22.5]] * 2
    assert len(ask(dataset(tmp_path, "0 0.5 0.5 0.5 0.5 7\n"), picture)) == 1


def test_what_may_be_a_track_or_a_triangle_is_refused(tmp_path: Path, picture: Image) -> None:
    with pytest.raises(InputError, match="may be a triangle or a box with its track"):
        ask(dataset(tmp_path, "0 0.5 0.5 0.5 0.5 0.93 1\n"), picture)


@pytest.mark.parametrize("given_path", ["", "data.yaml"])
def test_labels_beside_images_of_each_split_are_told_apart(given_path: str, tmp_path: Path) -> None:
    """The layout of Roboflow's exports, with the same names in every split."""
    for part, label in (("train", 0), ("valid", 1)):
        for folder in ("images", "labels"):
            (tmp_path / part / folder).mkdir(parents=True)
        (tmp_path / part / "labels" / "1.txt").write_text(f"{label} 0.5 0.5 0.1 0.1\n")
        Pillow.new("L", (40, 30)).save(tmp_path / part / "images" / "1.jpg")
    (tmp_path / "data.yaml").write_text("names: [cup, saucer]\n")
    found = YoloSource(str(tmp_path / given_path))
    images = [Image(tmp_path / part / "images" / "1.jpg") for part in ("valid", "train")]
    assert [prompts.labels for prompts in found.prompts(images)] == [("saucer",), ("cup",)]


def test_an_image_of_the_same_name_in_another_folder_gets_nothing(tmp_path: Path) -> None:
    for folder in ("images/backgrounds", "images/dogs", "labels/dogs"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "labels" / "dogs" / "1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    images = [tmp_path / "images" / folder / "1.jpg" for folder in ("backgrounds", "dogs")]
    for path in images:
        Pillow.new("L", (40, 30)).save(path)
    for order in (images, images[::-1]):
        found = YoloSource(str(tmp_path))
        assert found.expect([Image(path) for path in order]) == 1
        assert [len(found.prompts([Image(path)])[0]) for path in images] == [0, 1]


@pytest.mark.parametrize("given_path", ["", "labels", "data.yaml"])
def test_the_data_set_its_labels_or_its_yaml_may_be_named(given_path: str, tmp_path: Path, picture: Image) -> None:
    dataset(tmp_path, "0 0.5 0.5 0.1 0.1\n", data_yaml="names: [cup]\n", train_txt="./images/a.jpg\n")
    assert len(ask(tmp_path / given_path, picture)) == 1


def test_labels_are_found_in_mirrored_folders(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "val")):
        for folder in ("images", "labels"):
            (tmp_path / folder / part).mkdir(parents=True)
        (tmp_path / "labels" / part / "a.txt").write_text(f"{number} 0.5 0.5 0.1 0.1\n")
        Pillow.new("RGB", (4, 4)).save(tmp_path / "images" / part / "a.jpg")
    images = [Image(tmp_path / "images" / part / "a.jpg") for part in ("train", "val")]
    assert [prompts.labels for prompts in YoloSource(str(tmp_path)).prompts(images)] == [("0",), ("1",)]


def test_an_image_without_a_label_file_gets_no_prompts(tmp_path: Path) -> None:
    stranger = Image(np.zeros((3, 3, 3), np.uint8), name="b.jpg")
    assert len(ask(dataset(tmp_path, "0 0.5 0.5 0.1 0.1\n"), stranger)) == 0


def test_a_missing_folder_or_none_at_all_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        YoloSource(str(tmp_path / "none"))
    with pytest.raises(InputError, match="yolo=dataset/"):
        YoloSource(None)


@given(classes=st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=6))
def test_class_names_come_back_whatever_is_in_them(
    classes: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("yolo") / "data.yaml"
    path.write_bytes(to_yaml(classes))
    assert names_in(path) == dict(enumerate(classes))


@pytest.mark.parametrize(
    "text",
    [
        "path: x\nnames:\n  0: person\n  1: \"tea: cup\"\n  2: 'it''s'\nnc: 3\n",
        "names:\n- person\n- 'tea: cup'\n- it's\n",
        'names:\n  - person  # comment\n  - "tea: cup"\n  - it\'s\n',
        "names: [person, 'tea: cup', \"it's\"]  # three\n",
        "nc: 3\nnames: [\n  person,\n  'tea: cup',\n  \"it's\",\n]\n",
        "names: {0: person, 1: 'tea: cup', 2: \"it's\"}\ntrain: images\n",
    ],
)
def test_class_names_are_read_in_every_common_spelling(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    assert names_in(tmp_path / "data.yaml") == {0: "person", 1: "tea: cup", 2: "it's"}


def test_class_names_in_a_text_file_are_one_a_line(tmp_path: Path, picture: Image) -> None:
    folder = dataset(tmp_path, "1 0.5 0.5 0.1 0.1\n", classes_txt="cup\ntea spoon\n")
    assert ask(folder, picture).labels == ("tea spoon",)


@pytest.mark.parametrize("text", ["", "nc: 3\n", "names: *anchor\n", "names:\n  cup: 0\n", "names: [a, b"])
def test_class_names_that_cannot_be_read_say_what_to_do(text: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=r"classes\.txt"):
        YoloSource(str(tmp_path))
