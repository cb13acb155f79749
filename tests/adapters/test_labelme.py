"""labelme: files that it opens, files that it wrote, and nothing of anybody's overwritten."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image as Pillow

from samovar import Image, Masks, Prompts
from samovar.errors import InputError, PromptError
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.formats import LabelmeSink, LabelmeSource, labelme
from tests.adapters.scenes import any_masks, blank, names, photos, same


@pytest.fixture
def picture() -> Image:
    return Image(np.zeros((30, 40, 3), np.uint8), name="a.jpg")


def drawn(folder: Path, *shapes: dict[str, Any], **changes: Any) -> Path:
    """A file as labelme writes it."""
    usual: dict[str, Any] = {"label": "cup", "group_id": None, "shape_type": "polygon", "flags": {}}
    content: dict[str, Any] = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [usual | shape for shape in shapes],
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 30,
        "imageWidth": 40,
    }
    path = folder / "a.json"
    path.write_text(json.dumps(content | changes))
    return path


def ask(path: Path, image: Image, wanted: Any = "drawn") -> Prompts:
    (prompts,) = LabelmeSource(str(path), wanted).prompts([image])
    return prompts


def only_mask(prompts: Prompts) -> Masks:
    (mask,) = prompts.masks
    assert isinstance(mask, Masks)
    return mask


SQUARE = {"points": [[10, 5], [30, 5], [30, 15], [10, 15]]}


class TestLabelmeBoxes(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box",)

    @pytest.fixture
    def images(self, data_folder: Path) -> list[Image]:
        return [image for image, _ in photos(data_folder, 3)]

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> LabelmeSource:
        return labelme.boxes(written(data_folder, tmp_path))


class TestLabelmeMasks(TestLabelmeBoxes):
    produces: ClassVar[Sequence[Kind]] = ("mask",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> LabelmeSource:
        return labelme.masks(written(data_folder, tmp_path))


class TestLabelmePoints(TestLabelmeBoxes):
    produces: ClassVar[Sequence[Kind]] = ("points",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> LabelmeSource:
        return labelme.points(written(data_folder, tmp_path))


def written(data_folder: Path, folder: Path) -> str:
    with LabelmeSink(folder) as sink:
        for image, masks in photos(data_folder, 3):
            sink.write(image.name, image, masks)
    return str(folder)


def test_files_have_what_labelme_asks_of_them(data_folder: Path, tmp_path: Path) -> None:
    """The keys and types that labelme's own loader checks."""
    ((image, masks),) = photos(data_folder, 1)
    with LabelmeSink(tmp_path / "out") as sink:
        sink.write("deep/down/" + image.name, image, masks)
    (path,) = (tmp_path / "out" / "deep" / "down").iterdir()
    assert path.name == Path(image.name).with_suffix(".json").name
    content = json.loads(path.read_text("utf-8"))
    assert content["imageData"] is None
    assert (content["imageWidth"], content["imageHeight"]) == (image.width, image.height)
    assert isinstance(content["version"], str)
    assert content["flags"] == {}
    assert (path.parent / content["imagePath"]).resolve() == image.path
    assert "\\" not in content["imagePath"]
    assert not Path(content["imagePath"]).is_absolute()
    assert content["shapes"]
    for shape in content["shapes"]:
        assert isinstance(shape["label"], str)
        assert shape["shape_type"] == "polygon"
        assert len(shape["points"]) >= 3
        assert all(len(point) == 2 and all(isinstance(v, (int, float)) for v in point) for point in shape["points"])
        assert shape["group_id"] is None or isinstance(shape["group_id"], int)
        assert shape["flags"] == {}
        assert isinstance(shape["description"], str)


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_without_tolerance_masks_come_back_exactly(masks: Masks, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("labelme")
    image = blank(masks, "x.png")
    with LabelmeSink(folder, tolerance=0) as sink:
        sink.write("x.png", image, masks)
    prompts = ask(folder, image, "masks")
    kept = masks[masks.areas > 0]
    assert len(prompts) == len(kept)
    assert all(isinstance(got, Masks) and same(got, mask) for got, mask in zip(prompts.masks, kept))
    assert [label or "object" for label in kept.labels] == list(prompts.labels)


@pytest.mark.slow
def test_with_the_usual_tolerance_real_masks_come_back_nearly(data_folder: Path, tmp_path: Path) -> None:
    path = written(data_folder, tmp_path)
    for image, masks in photos(data_folder, 3):
        prompts = ask(Path(path), image, "masks")
        large = [(mask, got) for mask, got in zip(masks, prompts.masks) if mask.areas[0] > 500]
        assert len(large) >= 3
        ious = [float(mask.iou(got)[0, 0]) for mask, got in large if isinstance(got, Masks)]
        assert np.mean(ious) > 0.96
        assert min(ious) > 0.9


def test_parts_of_one_mask_share_a_group_and_a_single_part_has_none(tmp_path: Path, picture: Image) -> None:
    pixels = np.zeros((2, 30, 40), bool)
    pixels[0, 2:10, 2:10] = pixels[1, 2:10, 2:10] = pixels[1, 15:25, 20:30] = True
    with LabelmeSink(tmp_path) as sink:
        sink.write("a.jpg", picture, Masks.from_array(pixels))
    shapes = json.loads((tmp_path / "a.json").read_text())["shapes"]
    assert [shape["group_id"] for shape in shapes] == [None, 2, 2]
    assert len(ask(tmp_path, picture)) == 2


def test_images_that_differ_only_in_suffix_get_a_file_each_and_keep_it(tmp_path: Path) -> None:
    one, other = Masks.from_array(np.ones((1, 4, 4), bool)), Masks.empty(4, 4)
    for _ in range(2):
        with LabelmeSink(tmp_path) as sink:
            for key, masks in (("a.jpg", one), ("a.png", other)):
                sink.write(key, blank(masks, key), masks)
    assert names(tmp_path) == ["a.json", "a.png.json"]
    with LabelmeSink(tmp_path) as sink:
        assert sorted(sink.done()) == ["a.jpg", "a.png"]
    assert len(ask(tmp_path, blank(one, "a.jpg"))) == 1
    assert len(ask(tmp_path, blank(one, "a.png"))) == 0


def test_annotations_made_by_hand_are_never_overwritten(tmp_path: Path, picture: Image) -> None:
    by_hand = drawn(tmp_path, SQUARE).read_text()
    with LabelmeSink(tmp_path) as sink:
        assert list(sink.done()) == []
        sink.write("a.jpg", picture, Masks.empty(40, 30))
    assert (tmp_path / "a.json").read_text() == by_hand
    assert names(tmp_path) == ["a.jpg.json", "a.json"]


def test_a_file_that_was_edited_in_labelme_since_counts_as_done(tmp_path: Path, picture: Image) -> None:
    with LabelmeSink(tmp_path) as sink:
        sink.write("a.jpg", picture, Masks.empty(40, 30))
    content = json.loads((tmp_path / "a.json").read_text())
    rest = {key: value for key, value in content.items() if key.startswith("samovar")}
    drawn(tmp_path, SQUARE, **rest)  # labelme keeps keys that it does not know
    with LabelmeSink(tmp_path) as sink:
        assert list(sink.done()) == ["a.jpg"]


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (SQUARE, [10, 5, 30, 15]),
        ({"shape_type": "rectangle", "points": [[30, 15], [10, 5]]}, [10, 5, 30, 15]),
        ({"shape_type": None, "points": SQUARE["points"]}, [10, 5, 30, 15]),
        ({"shape_type": "oriented_rectangle", "points": [[20, 5], [25, 10], [20, 15], [15, 10]]}, [15, 5, 25, 15]),
        ({"shape_type": "circle", "points": [[20, 15], [25, 15]]}, [15, 10, 25, 20]),
    ],
)
def test_areas_become_boxes(shape: dict[str, Any], box: list[float], tmp_path: Path, picture: Image) -> None:
    prompts = ask(drawn(tmp_path, shape), picture)
    assert prompts.kinds == {"box"}
    assert np.allclose(prompts.boxes, [box], atol=0.1)
    assert prompts.labels == ("cup",)
    assert prompts.ids == (0,)


def test_a_circle_is_a_disc(tmp_path: Path, picture: Image) -> None:
    circle = {"shape_type": "circle", "points": [[20, 15], [30, 15]]}
    mask = only_mask(ask(drawn(tmp_path, circle), picture, "masks"))
    assert abs(int(mask.areas[0]) - 314) < 8


def test_a_circle_beyond_all_bounds_takes_no_memory(tmp_path: Path, picture: Image) -> None:
    circle = {"shape_type": "circle", "points": [[20, 15], [20, 16_000_000]]}
    mask = only_mask(ask(drawn(tmp_path, circle), picture, "masks"))
    assert mask.areas[0] == picture.width * picture.height


def test_a_painted_mask_lies_where_its_first_point_is(tmp_path: Path, picture: Image) -> None:
    crop = np.array([[1, 0, 1], [1, 1, 1]], np.uint8) * 255
    data = io.BytesIO()
    Pillow.fromarray(crop).save(data, "PNG")
    shape = {
        "shape_type": "mask",
        "points": [[7, 9], [9, 10]],
        "mask": base64.b64encode(data.getvalue()).decode(),
    }
    mask = only_mask(ask(drawn(tmp_path, shape), picture, "masks"))
    expected = np.zeros((30, 40), bool)
    expected[9:11, 7:10] = crop > 0
    assert np.array_equal(mask.to_array()[0], expected)
    assert ask(drawn(tmp_path, shape), picture).boxes.tolist() == [[7, 9, 10, 11]]


def test_points_and_lines_become_points(tmp_path: Path, picture: Image) -> None:
    path = drawn(
        tmp_path,
        {"shape_type": "point", "points": [[3, 4]]},
        {"shape_type": "linestrip", "points": [[1, 1], [5, 1], [5, 6]], "label": "line"},
    )
    prompts = ask(path, picture)
    assert prompts.kinds == {"points"}
    assert prompts.points.tolist() == [[3, 4], [1, 1], [5, 1], [5, 6]]
    assert prompts.point_offsets.tolist() == [0, 1, 4]
    assert prompts.labels == ("cup", "line")
    assert len(ask(path, picture, "boxes")) == len(ask(path, picture, "masks")) == 0


def test_shapes_of_one_group_are_one_object(tmp_path: Path, picture: Image) -> None:
    path = drawn(
        tmp_path,
        {"shape_type": "rectangle", "points": [[2, 3], [8, 9]], "group_id": 1},
        {"shape_type": "rectangle", "points": [[20, 13], [28, 19]]},
        {"shape_type": "point", "points": [[4, 5]], "group_id": 1},
        {"shape_type": "rectangle", "points": [[6, 3], [12, 9]], "group_id": 1},
    )
    prompts = ask(path, picture)
    assert prompts.boxes.tolist() == [[2, 3, 12, 9], [20, 13, 28, 19]]
    assert prompts.points.tolist() == [[4, 5]]
    assert prompts.ids == (0, 1)
    union = ask(path, picture, "masks").masks[0]
    assert isinstance(union, Masks)
    assert union.areas.tolist() == [60]


def test_files_are_found_by_the_images_name_in_mirrored_folders(tmp_path: Path) -> None:
    for number, folder in enumerate(("x", "y")):
        (tmp_path / "ann" / folder).mkdir(parents=True)
        (tmp_path / "photos" / folder).mkdir(parents=True)
        Pillow.new("RGB", (40, 30)).save(tmp_path / "photos" / folder / "a.jpg")
        drawn(tmp_path / "ann" / folder, SQUARE, {"points": [[1, 1], [2, 1], [2, 2]], "label": str(number)})
    found = LabelmeSource(str(tmp_path / "ann"), "boxes")
    images = [Image(tmp_path / "photos" / folder / "a.jpg") for folder in ("x", "y")]
    assert [prompts.labels[1] for prompts in found.prompts(images)] == ["0", "1"]


def test_an_image_without_a_file_gets_no_prompts(tmp_path: Path) -> None:
    drawn(tmp_path, SQUARE)
    assert len(ask(tmp_path, Image(np.zeros((3, 3, 3), np.uint8), name="b.jpg"))) == 0


def test_a_file_that_was_renamed_with_its_image_is_found(tmp_path: Path) -> None:
    """Its imagePath is still the old name, of no image that is there."""
    Pillow.new("L", (40, 30)).save(tmp_path / "cat.jpg")
    drawn(tmp_path, SQUARE | {"label": "cat"}, imagePath="IMG_0001.JPG").rename(tmp_path / "cat.json")
    assert len(ask(tmp_path, Image(tmp_path / "cat.jpg"))) == 1
    Pillow.new("L", (40, 30)).save(tmp_path / "IMG_0001.JPG")
    assert len(ask(tmp_path, Image(tmp_path / "cat.jpg"))) == 0


def test_a_bad_shape_costs_itself(tmp_path: Path, picture: Image) -> None:
    good, bad = SQUARE | {"label": "a"}, {"label": "b", "points": [[1, 2]]}
    found = LabelmeSource(str(drawn(tmp_path, good, bad)))
    assert len(found.prompts([picture])[0]) == 1
    assert re.search(r"left out .*shapes\[1\]: points: expected at least 3", str(found.problems[0]))


def test_annotations_of_an_image_of_another_size_are_refused(tmp_path: Path, picture: Image) -> None:
    with pytest.raises(PromptError, match="says that it is 41×30 pixels but it is 40×30"):
        ask(drawn(tmp_path, SQUARE, imageWidth=41), picture)


MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no list of shapes": ({"shapes": None}, r"shapes: expected a list; got None"),
    "a shape that is a number": ({"shapes": [3]}, r"shapes\[0\]: expected an object; got 3"),
    "a label that is a list": ({"shapes": [SQUARE | {"label": [1]}]}, r"shapes\[0\]: label: expected text"),
    "an unknown shape": ({"shapes": [SQUARE | {"label": "a", "shape_type": "heart"}]}, r"shape_type: .*got 'heart'"),
    "two corners": ({"shapes": [{"label": "a", "points": [[1, 2], [3, 4]]}]}, r"shapes\[0\]: points: .*at least 3"),
    "a point of three": ({"shapes": [{"label": "a", "points": [[1, 2, 3]] * 3}]}, r"shapes\[0\]: points"),
    "NaN": ({"shapes": [{"label": "a", "points": [[1, float("nan")]] * 3}]}, r"shapes\[0\]: points"),
    "a point far away": ({"shapes": [{"label": "a", "points": [[1, 10**400]] * 3}]}, r"shapes\[0\]: points"),
    "a group that is a list": ({"shapes": [SQUARE | {"label": "a", "group_id": [1]}]}, r"shapes\[0\]: group_id"),
    "no image": ({"imagePath": None}, 'expected a labelme file with "imagePath"'),
    "a mask that is no PNG": (
        {"shapes": [{"label": "a", "shape_type": "mask", "points": [[1, 2], [3, 4]], "mask": "bm8="}]},
        r"shapes\[0\]: mask: expected a PNG in base64; got 'bm8='",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_one_line_with_the_file_and_the_place(case: str, tmp_path: Path, picture: Image) -> None:
    changes, message = MALFORMED[case]
    path = drawn(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        ask(tmp_path, picture)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_torn_file_is_one_line(tmp_path: Path, picture: Image) -> None:
    path = drawn(tmp_path, SQUARE)
    path.write_text(path.read_text()[:-9])
    with pytest.raises(InputError, match=r"a\.json: is not valid JSON") as caught:
        ask(tmp_path, picture)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_or_none_at_all_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        LabelmeSource(str(tmp_path / "none"))
    with pytest.raises(InputError, match="labelme=annotations/"):
        LabelmeSource(None)
