"""COCO annotation files as prompts."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from samovar import Image, Masks, Prompts
from samovar.cli.main import main
from samovar.errors import InputError, PromptError
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.formats import CocoSink, CocoSource, coco
from samovar_adapters.formats.coco_file import parse, top_level
from tests.adapters.scenes import any_masks, blank, photos, same

# pycocotools itself, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def document(**changes: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 40, "height": 30}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "bbox": [10, 5, 20, 10],
                "segmentation": [[10, 5, 30, 5, 30, 15, 10, 15]],
                "area": 200,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 3, "name": "cup"}],
    } | changes


def annotation(**changes: Any) -> dict[str, Any]:
    first: dict[str, Any] = document()["annotations"][0]
    return first | changes


@pytest.fixture
def picture() -> Image:
    return Image(np.zeros((30, 40, 3), np.uint8), name="a.jpg")


def opened(folder: Path, content: Any, wanted: Any = "boxes") -> CocoSource:
    path = folder / "ann.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return CocoSource(str(path), wanted)


def black_png(path: Path) -> None:
    Pillow.new("L", (40, 30)).save(path, "PNG")


def ask(found: CocoSource, image: Image) -> Prompts:
    (prompts,) = found.prompts([image])
    return prompts


class TestCocoBoxes(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box",)

    @pytest.fixture
    def images(self, data_folder: Path) -> list[Image]:
        return [image for image, _ in photos(data_folder, 3)]

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> CocoSource:
        return coco.boxes(written(data_folder, tmp_path))


class TestCocoPoints(TestCocoBoxes):
    produces: ClassVar[Sequence[Kind]] = ("points",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> CocoSource:
        return coco.points(written(data_folder, tmp_path))


class TestCocoMasks(TestCocoBoxes):
    produces: ClassVar[Sequence[Kind]] = ("mask",)

    @pytest.fixture
    def source(self, data_folder: Path, tmp_path: Path) -> CocoSource:
        return coco.masks(written(data_folder, tmp_path))


def written(data_folder: Path, folder: Path) -> str:
    with CocoSink(folder / "ann.json") as sink:
        for image, masks in photos(data_folder, 3):
            sink.write(image.name, image, masks)
    return str(folder / "ann.json")


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(masks=any_masks())
def test_masks_written_as_coco_come_back_as_the_same_masks(
    masks: Masks, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("coco") / "out.json"
    image = blank(masks, "x.png")
    with CocoSink(path) as sink:
        sink.write("x.png", image, masks)
    prompts = ask(coco.masks(str(path)), image)
    kept = masks[masks.areas > 0]
    assert len(prompts) == len(kept)
    assert all(isinstance(got, Masks) and same(got, mask) for got, mask in zip(prompts.masks, kept))
    assert [label or "object" for label in kept.labels] == list(prompts.labels)


def test_boxes_are_those_of_the_masks(data_folder: Path, tmp_path: Path) -> None:
    found = coco.boxes(written(data_folder, tmp_path))
    for image, masks in photos(data_folder, 3):
        assert np.array_equal(ask(found, image).boxes, masks.boxes)


def test_points_lie_inside_their_masks(data_folder: Path, tmp_path: Path) -> None:
    found = coco.points(written(data_folder, tmp_path))
    for image, masks in photos(data_folder, 3):
        points = ask(found, image).points
        dense = masks.to_array()
        assert all(dense[i, int(y), int(x)] for i, (x, y) in enumerate(points))


@pytest.mark.slow
def test_polygons_are_drawn_pixel_for_pixel_as_pycocotools_draws_them(tmp_path: Path) -> None:
    from pycocotools import mask as coco_masks

    random = np.random.default_rng(5)
    image = Image(np.zeros((50, 60, 3), np.uint8), name="a.jpg")
    rows = []
    for ident in range(30):
        parts = [(random.random(2 * random.integers(3, 9)) * 60).round(2).tolist() for _ in range(1 + ident % 3)]
        rows.append(annotation(id=ident, segmentation=parts))
    content = document(annotations=rows, images=[{"id": 7, "file_name": "a.jpg"}])
    prompts = ask(opened(tmp_path, content, "masks"), image)
    assert list(prompts.ids) == list(range(30))
    for row, mask in zip(rows, prompts.masks):
        expected = coco_masks.decode(coco_masks.merge(coco_masks.frPyObjects(row["segmentation"], 50, 60)))
        assert isinstance(mask, Masks)
        assert np.array_equal(mask.to_array()[0], expected.astype(bool))


def test_labels_and_ids_ride_along(tmp_path: Path, picture: Image) -> None:
    rows = [annotation(id=9), annotation(id="x", category_id=4)]
    content = document(annotations=rows, categories=[{"id": 3, "name": "cup"}, {"id": 4, "name": "Löffel"}])
    prompts = ask(opened(tmp_path, content), picture)
    assert prompts.labels == ("cup", "Löffel")
    assert prompts.ids == (9, "x")
    assert prompts.boxes.tolist() == [[10, 5, 30, 15]] * 2


def test_an_image_without_annotations_gets_no_prompts(tmp_path: Path, picture: Image) -> None:
    assert len(ask(opened(tmp_path, document(annotations=[])), picture)) == 0
    stranger = Image(np.zeros((3, 3, 3), np.uint8), name="stranger.jpg")
    assert len(ask(opened(tmp_path, document()), stranger)) == 0


def test_sections_may_come_in_any_order(tmp_path: Path, picture: Image) -> None:
    content = document()
    backwards = {key: content[key] for key in ("annotations", "categories", "images")}
    assert len(ask(opened(tmp_path, backwards), picture)) == 1


def test_crowds_and_boxes_without_area_give_no_prompts(tmp_path: Path, picture: Image) -> None:
    rle = {"size": [30, 40], "counts": [0, 1200]}
    rows = [annotation(iscrowd=1, segmentation=rle), annotation(bbox=[3, 4, 0, 9]), annotation(id=5)]
    assert ask(opened(tmp_path, document(annotations=rows)), picture).ids == (5,)


def test_boxes_are_clipped_to_the_image(tmp_path: Path, picture: Image) -> None:
    content = document(annotations=[annotation(bbox=[-5, 20, 20, 20])])
    assert ask(opened(tmp_path, content), picture).boxes.tolist() == [[0, 20, 15, 30]]


def test_an_annotation_with_only_a_segmentation_has_the_box_of_its_mask(tmp_path: Path, picture: Image) -> None:
    row = annotation()
    del row["bbox"]
    assert ask(opened(tmp_path, document(annotations=[row])), picture).boxes.tolist() == [[10, 5, 30, 15]]


def test_images_are_found_by_their_relative_paths_first(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{folder}/a.jpg"} for n, folder in enumerate("xy")]
    rows = [annotation(id=f"in {folder}", image_id=n) for n, folder in enumerate("xy")]
    found = opened(tmp_path, document(images=images, annotations=rows))
    for folder in "xy":
        (tmp_path / "photos" / folder).mkdir(parents=True)
        path = tmp_path / "photos" / folder / "a.jpg"
        black_png(path)
        assert ask(found, Image(path)).ids == (f"in {folder}",)


def test_folders_that_were_moved_are_found_by_an_end_that_is_unique(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "old/place/a.jpg"}]
    for folder, count in (("place", 1), ("elsewhere", 0)):
        (tmp_path / folder).mkdir()
        black_png(tmp_path / folder / "a.jpg")
        assert len(ask(opened(tmp_path, document(images=images)), Image(tmp_path / folder / "a.jpg"))) == count


def test_a_name_that_fits_two_images_of_the_file_is_an_error_naming_both(tmp_path: Path) -> None:
    images = [{"id": n, "file_name": f"{folder}/z/a.jpg"} for n, folder in enumerate("xy")]
    (tmp_path / "z").mkdir()
    black_png(tmp_path / "z" / "a.jpg")
    found = opened(tmp_path, document(images=images, annotations=[]))
    with pytest.raises(PromptError, match=r"x/z/a\.jpg and y/z/a\.jpg"):
        found.prompts([Image(tmp_path / "z" / "a.jpg")])


def test_annotations_of_an_image_of_another_size_are_refused(tmp_path: Path) -> None:
    turned = Image(np.zeros((40, 30, 3), np.uint8), name="a.jpg")
    with pytest.raises(PromptError, match="says that it is 40×30 pixels but it is 30×40"):
        opened(tmp_path, document()).prompts([turned])


MALFORMED: dict[str, tuple[Any, str]] = {
    "nothing at all": ("", r"line 1: expected a JSON object"),
    "some other object": ({"shapes": []}, "it lacks annotations and images"),
    "cut short": (json.dumps(document(), indent=1)[:-40], r"line \d+: .*; the file may be cut short"),
    "not JSON": ('{"images": [{]}', r"line 1: is not valid JSON"),
    "no UTF-8": ('{"images": [{"id": 1, "file_name": "caf\udce9"}]}', "UTF-8"),
    "images of another type": (document(images={"a": 1}), r"images: expected a list"),
    "an annotation that is a list": (document(annotations=[[1, 2]]), r"annotations\[0\]: expected an object"),
    "a category without a name": (document(categories=[{"id": 3}]), r"categories\[0\]: name"),
    "an image without a name": (document(images=[{"id": 7}]), r"images\[0\]: file_name"),
    "an id twice": (document(images=document()["images"] * 2), r"images\[1\]: id: expected an id of its own; got 7"),
    "a name twice": (
        document(images=[*document()["images"], {"id": 8, "file_name": "a.jpg"}]),
        "'a.jpg' is there twice",
    ),
}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a box of three": (annotation(bbox=[1, 2, 3]), "bbox: expected finite numbers"),
    "a box of text": (annotation(bbox="1 2 3 4"), "bbox"),
    "a box of NaN": (annotation(bbox=[1, 2, float("nan"), 3]), "bbox"),
    "a box beyond all numbers": (annotation(bbox=[10**400, 2, 3, 3]), "bbox"),
    "a negative size": (annotation(bbox=[1, 2, -3, 3]), "bbox"),
    "a box outside": (annotation(bbox=[50, 5, 5, 5]), "its box 50 5 55 10 is outside the image"),
    "no such category": (annotation(category_id=8), "category_id: expected .*; got 8"),
    "an outline that is a number": (annotation(segmentation=5), "segmentation"),
    "nothing drawn": (annotation(segmentation=[], bbox=[]), "expected a bbox or a segmentation; got neither"),
    "an id that is a list": (annotation(id=[1]), "id: expected an integer or a string"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_annotation_costs_itself_and_is_named_with_its_place(case: str, tmp_path: Path, picture: Image) -> None:
    row, message = BAD[case]
    found = opened(tmp_path, document(annotations=[row, annotation(id="good")]))
    assert ask(found, picture).ids == ("good",)
    [note] = map(str, found.problems)
    assert re.search(r"left out .*ann\.json: annotations\[0\]: " + message, note)
    with pytest.raises(
        InputError, match=r"annotations\[0\]: " + message
    ):  # with no other there is nothing to go on with
        opened(tmp_path, document(annotations=[row])).prompts([picture])


@pytest.mark.parametrize(
    ("row", "why"), [({"image_id": 8}, "of the image 8"), ({"image_id": None}, "without an image_id")]
)
def test_annotations_of_no_image_are_named(row: dict[str, Any], why: str, tmp_path: Path, picture: Image) -> None:
    found = opened(tmp_path, document(annotations=[annotation(**row), annotation(id="good")]))
    assert ask(found, picture).ids == ("good",)
    assert why in str(found.problems[0])


@pytest.mark.parametrize("flag", [1, True, "1"])
def test_crowd_regions_are_counted_and_can_be_taken(flag: object, tmp_path: Path, picture: Image) -> None:
    """CVAT marks every mask as a crowd."""
    found = opened(tmp_path, document(annotations=[annotation(iscrowd=flag)]))
    assert len(ask(found, picture)) == 0
    [note] = map(str, found.problems)
    assert re.search(r"left out 1 crowd region of .*ann\.json; .*crowd=keep", note)
    assert len(ask(CocoSource(f"{tmp_path / 'ann.json'},crowd=keep"), picture)) == 1
    with pytest.raises(InputError, match="crowd: expected keep or skip; got 'some'"):
        CocoSource(f"{tmp_path / 'ann.json'},crowd=some")


@pytest.mark.parametrize("flag", [0, False, "0", None])
def test_what_is_no_crowd_is_an_object(flag: object, tmp_path: Path, picture: Image) -> None:
    assert len(ask(opened(tmp_path, document(annotations=[annotation(iscrowd=flag)])), picture)) == 1


DIALECTS: dict[str, tuple[Any, str | None]] = {
    "LVIS": (document(images=[{"id": 7, "coco_url": "http://example.org/train2017/a.jpg"}]), "cup"),
    "addresses": (document(images=[{"id": 7, "file_name": "http://example.org/x/a.jpg?x=1"}]), "cup"),
    "SA-1B": (
        {"image": {"image_id": 5, "file_name": "a.jpg"}, "annotations": [{"id": 1, "bbox": [10, 5, 20, 10]}]},
        None,
    ),
    "no categories": ({k: v for k, v in document().items() if k != "categories"}, "3"),
    "one of no category": (document(annotations=[{"id": 1, "image_id": 7, "bbox": [10, 5, 20, 10]}]), None),
    "ids that are floats": (
        document(images=[{"id": 7.0, "file_name": "a.jpg"}], annotations=[annotation(image_id=7.0, category_id=3.0)]),
        "cup",
    ),
    "results": ([{"image_id": "a", "category_id": 3, "bbox": [10, 5, 20, 10], "score": 0.9}], "3"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_files_like_cocos_are_read(dialect: str, tmp_path: Path, picture: Image) -> None:
    content, label = DIALECTS[dialect]
    prompts = ask(opened(tmp_path, content), picture)
    assert prompts.boxes.tolist() == [[10, 5, 30, 15]]
    assert prompts.labels == (() if label is None else (label,))


def test_a_number_in_results_is_the_file_that_coco_would_call_so(tmp_path: Path) -> None:
    image = Image(np.zeros((30, 40, 3), np.uint8), name="000000000139.jpg")
    assert len(ask(opened(tmp_path, [{"image_id": 139, "category_id": 3, "bbox": [10, 5, 20, 10]}]), image)) == 1


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_file_is_one_line_with_the_file_and_the_place(case: str, tmp_path: Path) -> None:
    content, message = MALFORMED[case]
    path = tmp_path / "ann.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=message) as caught:
        CocoSource(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (annotation(segmentation=[[1, 2, 3]]), r"annotations\[0\]: a ring"),
        (annotation(segmentation=[["a"] * 6]), r"annotations\[0\]: a ring"),
        (annotation(segmentation={"size": [30, 40], "counts": "~~~"}), r"annotations\[0\]: counts"),
        (annotation(segmentation={"size": [3, 4], "counts": [12]}), r"its mask is 4×3 but the image is 40×30"),
        (annotation(segmentation=[]), r"annotations\[0\]: expected an outline; got only a box"),
        (annotation(segmentation=[], bbox=None), r"annotations\[0\]: expected a bbox or a segmentation"),
    ],
)
def test_an_outline_that_cannot_be_drawn_names_its_annotation(
    row: dict[str, Any], message: str, tmp_path: Path, picture: Image
) -> None:
    found = opened(tmp_path, document(annotations=[row]), "masks")
    with pytest.raises(InputError, match=message) as caught:
        found.prompts([picture])
    assert str(tmp_path / "ann.json") in str(caught.value)


def test_a_file_that_changes_under_way_is_an_error(tmp_path: Path, picture: Image) -> None:
    found = opened(tmp_path, document())
    (tmp_path / "ann.json").write_text("{}")
    with pytest.raises(InputError, match="has changed"):
        found.prompts([picture])


def test_a_missing_file_or_none_at_all_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        CocoSource(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match=r"coco-boxes=annotations\.json"):
        CocoSource(None)


def test_prompts_that_need_conversion_are_refused(tmp_path: Path, picture: Image) -> None:
    found = opened(tmp_path, document())
    with pytest.raises(PromptError, match="answer no requests"):
        found.prompts([picture], [found.prompts([picture])[0]])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@given(
    content=st.dictionaries(st.text(), json_values, max_size=5),
    ascii_only=st.booleans(),
    indent=st.none() | st.integers(0, 3),
    chunk=st.integers(1, 40),
)
def test_the_stream_gives_what_the_file_holds_and_where_whatever_the_block_size(
    content: dict[str, Any],
    ascii_only: bool,
    indent: int | None,
    chunk: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(json.dumps(content, ensure_ascii=ascii_only, indent=indent), "utf-8", errors="surrogatepass")
    try:
        data = path.read_bytes()
        data.decode("utf-8")
    except UnicodeDecodeError:
        return
    items = list(top_level(path, chunk))
    rebuilt: dict[str, Any] = {}
    for item in items:
        assert parse(data[item.start : item.end]) == item.value
        if item.place is None:
            rebuilt[item.key] = item.value
        else:
            rebuilt.setdefault(item.key, []).append(item.value)
            assert len(rebuilt[item.key]) == item.place + 1
    assert rebuilt == content


@given(cut=st.integers(0, 400), chunk=st.integers(1, 100))
def test_a_cut_file_is_always_an_error_and_never_half_an_answer(
    cut: int, chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = json.dumps(document(), indent=1)
    path = tmp_path_factory.mktemp("json") / "file.json"
    path.write_text(text[: min(cut, len(text) - 1)])
    with pytest.raises(InputError, match=r"file\.json"):
        list(top_level(path, chunk))
    with pytest.raises(InputError, match=r"file\.json"):
        CocoSource(str(path))


@pytest.mark.slow
def test_a_file_far_larger_than_what_is_kept_of_it_can_be_opened(tmp_path: Path) -> None:
    row = json.dumps(annotation(segmentation=[[float(i) for i in range(600)]]))
    with (tmp_path / "ann.json").open("w") as file:
        file.write('{"images": [{"id": 7, "file_name": "a.jpg"}], "categories": [{"id": 3, "name": "cup"}], ')
        file.write('"annotations": [' + ", ".join([row] * 2000) + "]}")
    size = (tmp_path / "ann.json").stat().st_size
    tracemalloc.start()
    found = CocoSource(str(tmp_path / "ann.json"))  # noqa: F841  (held while its memory is measured)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 6_000_000
    assert held < 300_000
    assert peak < size


@pytest.mark.parametrize(
    ("name", "row", "status", "said"),
    [
        ("photo.jpg", {}, 0, "1 mask of 1 image"),
        ("photo.jpg", {"iscrowd": 1}, 1, "left out 1 crowd region of"),
        ("other/photo.jpg", {}, 1, "names none of the images, 1 given"),
        ("photo.jpg", {"bbox": [1, 2, 3]}, 1, "bbox: expected finite numbers"),
    ],
)
def test_a_job_says_what_became_of_annotations_and_fails_if_nothing_did(
    name: str,
    row: dict[str, Any],
    status: int,
    said: str,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = [{"id": 7, "file_name": name, "width": 600, "height": 400}]
    content = document(images=images, annotations=[annotation(bbox=[170, 12, 244, 300], segmentation=None) | row])
    (tmp_path / "ann.json").write_text(json.dumps(content))
    source = f"coco-boxes={tmp_path / 'ann.json'}"
    with pytest.raises(SystemExit) as caught:
        main(["run", str(photo), "--source", source, "--sink", f"coco={tmp_path / 'out.json'}"])
    assert (caught.value.code or 0) == status
    assert said in capsys.readouterr().err
