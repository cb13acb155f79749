"""Label Studio's ways of writing regions: brush runs, percentages and polygons, there and back."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from samovar import Masks
from samovar.errors import InputError, MaskError, PromptError
from samovar_adapters.label_studio.config import ImageTag, parse
from samovar_adapters.label_studio.prompts import read_context
from samovar_adapters.label_studio.regions import ImageSize, decode_brush, encode_brush, regions

CONFIG = """
<View>
  <Image name="image" value="$photo"/>
  <BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog"/></BrushLabels>
  <PolygonLabels name="polygon" toName="image"><Label value="cat"/><Label value="bird"/></PolygonLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="cat"/></RectangleLabels>
  <EllipseLabels name="ellipse" toName="image"><Label value="cat"/></EllipseLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="cat"/></KeyPointLabels>
</View>
"""

masks = arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))).map(lambda array: Masks.from_array(array[None]))


def disc(width: int = 120, height: int = 80, hole: bool = False) -> Masks:
    y, x = np.mgrid[:height, :width] + 0.5
    far = np.hypot((x - 50) / 40, (y - 40) / 25)
    return Masks.from_array(((far < 1) & ~(hole & (far < 0.4)))[None]).replace(labels=["cat"], scores=[0.75])


def control(kind: str) -> object:
    return parse(CONFIG).control("image", "cat", kind)  # type: ignore[arg-type]


def answered(mask: Masks, kind: str, **options: float) -> list[dict[str, object]]:
    return regions(mask, control(kind), labels=["cat"], **options)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- brush


@given(masks)
def test_a_brush_mask_comes_back_exactly(mask: Masks) -> None:
    assert decode_brush(encode_brush(mask), mask.width, mask.height).equals(mask)


def test_runs_longer_than_a_record_holds_come_back_too() -> None:
    array = np.zeros((1, 300, 400), bool)
    array[:, 100:250, 3:] = True
    mask = Masks.from_array(array)
    assert decode_brush(encode_brush(mask), 400, 300).equals(mask)


def test_literal_records_and_soft_edges_as_the_editor_writes_them() -> None:
    # Four pixels: alpha 0, 1, 128, 255; written as literals, one run of them, sizes 3, 4, 8 and 16.
    values = [0, 0, 0, 0, 9, 9, 9, 1, 9, 9, 9, 128, 0, 0, 0, 255]
    bits = f"{16:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in (3, 4, 8, 16)) + "001" + f"{15:04b}"
    bits += "".join(f"{value:08b}" for value in values)
    packed = [int(bits[at : at + 8].ljust(8, "0"), 2) for at in range(0, len(bits), 8)]
    assert decode_brush(packed, 2, 2).to_array().tolist() == [[[False, True], [True, True]]]


@given(st.lists(st.integers(0, 255), max_size=60))
def test_torn_runs_are_an_error_and_nothing_worse(rle: list[int]) -> None:
    with pytest.raises(MaskError):
        decode_brush(rle, 31, 17)


@given(masks, st.data())
def test_damaged_runs_are_an_error_or_a_mask(mask: Masks, data: st.DataObject) -> None:
    rle = encode_brush(mask)
    at = data.draw(st.integers(0, len(rle) - 1))
    rle[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MaskError):
        assert decode_brush(rle, mask.width, mask.height).width == mask.width


@pytest.mark.parametrize("rle", [["a"], [None], [-1], [256], [[1, 2]], [1.5e300]])
def test_what_is_no_list_of_bytes_is_refused(rle: list[object]) -> None:
    with pytest.raises(MaskError):
        decode_brush(rle, 3, 3)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- the configuration


def test_the_tag_that_offers_the_label_and_asks_nobody_answers() -> None:
    config = parse(CONFIG)
    assert config.images == {"image": ImageTag("$photo")}
    assert config.control("image", "cat").name == "brush"
    assert config.control("image", "bird").name == "polygon"
    assert config.control("image", None).name == "brush"
    assert config.control("image", "cat", "rectangle").name == "box"
    assert config.control("image", "cat", "ellipse").name == "ellipse"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<View", "not valid XML"),
        ("<View/>", "<Image"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View/>', "DOCTYPE"),
        ("<View>" + " " * (1 << 20) + "</View>", "1 MiB"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse(text)


def test_a_configuration_without_regions_says_what_to_add() -> None:
    config = parse('<View><Image name="i" value="$x"/><Choices name="c" toName="i"/></View>')
    with pytest.raises(InputError, match="add one of BrushLabels"):
        config.control("i", None)


# ------------------------------------------------------------------------------------------------- answers


def test_a_brush_region_says_everything_the_editor_needs() -> None:
    [region] = answered(disc(), "brush", rotation=90)
    assert region["from_name"] == "brush"
    assert (region["to_name"], region["type"]) == ("image", "brushlabels")
    assert (region["original_width"], region["original_height"], region["image_rotation"]) == (120, 80, 90)
    assert region["score"] == 0.75
    value = region["value"]
    assert isinstance(value, dict)
    assert (value["format"], value["brushlabels"]) == ("rle", ["cat"])
    assert decode_brush(value["rle"], 120, 80).equals(disc())


@pytest.mark.parametrize("hole", [False, True])
def test_polygons_draw_the_mask_again_holes_included(hole: bool) -> None:
    mask = disc(hole=hole)
    drawn = [ImageSize(120, 80).polygon(region["value"]) for region in answered(mask, "polygon", tolerance=0)]  # type: ignore[arg-type]
    assert Masks.from_polygons([[ring.astype(np.float32) for ring in drawn]], 120, 80).equals(mask)


@pytest.mark.slow
def test_a_tolerance_saves_most_of_a_polygons_points() -> None:
    exact, simple = (answered(disc(), "polygon", tolerance=tolerance)[0]["value"] for tolerance in (0, 1))
    assert len(simple["points"]) < len(exact["points"]) / 3  # type: ignore[index]


def test_a_rectangle_is_the_masks_box() -> None:
    [region] = answered(disc(), "rectangle")
    corners = ImageSize(120, 80).rectangle(region["value"])  # type: ignore[arg-type]
    x1, y1, x2, y2 = disc().boxes[0].tolist()
    assert corners.tolist() == pytest.approx(np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]))


def test_a_slanted_mask_gets_a_turned_rectangle_that_the_editor_draws_in_the_same_place() -> None:
    corners = np.array([[20, 10], [100, 50], [94, 62], [14, 22]], np.float32)
    mask = Masks.from_polygons([[corners]], 120, 80).replace(labels=["cat"])
    [region] = answered(mask, "rectangle")
    drawn = ImageSize(120, 80).rectangle(region["value"])  # type: ignore[arg-type]
    again = Masks.from_polygons([[drawn.astype(np.float32)]], 120, 80)
    assert mask.iou(again)[0, 0] > 0.9


def test_an_ellipse_fits_an_ellipse() -> None:
    [region] = answered(disc(), "ellipse")
    outline = ImageSize(120, 80).ellipse(region["value"], 200)  # type: ignore[arg-type]
    assert disc().iou(Masks.from_polygons([[outline.astype(np.float32)]], 120, 80))[0, 0] > 0.97


def test_a_key_point_lies_inside_even_a_ring() -> None:
    [region] = answered(disc(hole=True), "keypoint")
    x, y = ImageSize(120, 80).point(region["value"])  # type: ignore[arg-type]
    assert disc(hole=True).to_array()[0, int(y), int(x)]


def test_an_empty_mask_is_no_region() -> None:
    assert answered(Masks.from_array(np.zeros((1, 8, 8), bool)), "brush") == []


# ------------------------------------------------------------------------------------------------- prompts

FRAME = ImageSize(200, 100)


def click(x: float, y: float, label: str | None = "cat", positive: bool = True) -> dict[str, object]:
    value: dict[str, object] = {"x": x, "y": y, "width": 0.5}
    if label is not None:
        value["keypointlabels"] = [label]
    return {"type": "keypointlabels", "to_name": "image", "is_positive": positive, "value": value}


def box(x: float, y: float, width: float, height: float, rotation: float = 0) -> dict[str, object]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": ["cat"]}
    return {"type": "rectanglelabels", "to_name": "image", "value": value}


def test_clicks_of_one_label_mean_one_object_and_percentages_become_pixels() -> None:
    [asked] = read_context([click(50, 50), click(10, 20, positive=False), click(60, 60)], FRAME, "image")
    assert asked.points is not None
    assert asked.points.tolist() == [[100, 50], [20, 20], [120, 60]]
    assert asked.point_labels is not None
    assert asked.point_labels.tolist() == [1, 0, 1]
    assert asked.label == "cat"


def test_every_label_is_an_object_of_its_own() -> None:
    asked = read_context([click(50, 50), click(10, 20, "dog")], FRAME, "image")
    assert [one.label for one in asked] == ["cat", "dog"]


def test_every_rectangle_is_an_object_and_clicks_refine_the_one_they_are_in() -> None:
    regions = [box(0, 0, 20, 50), box(50, 0, 40, 100), click(10, 10), click(70, 50, positive=False)]
    first, second = read_context(regions, FRAME, "image")
    assert first.box is not None
    assert second.box is not None
    assert (first.box.tolist(), second.box.tolist()) == ([0, 0, 40, 50], [100, 0, 180, 100])
    assert first.point_labels is not None
    assert second.point_labels is not None
    assert (first.point_labels.tolist(), second.point_labels.tolist()) == ([1], [0])


def test_a_turned_rectangle_is_the_box_around_it_with_a_click_in_its_middle() -> None:
    [asked] = read_context([box(50, 20, 20, 20, rotation=90)], FRAME, "image")
    assert asked.box is not None
    assert asked.box.tolist() == pytest.approx([80, 20, 100, 60])
    assert asked.points is not None
    assert asked.points.tolist() == [pytest.approx([90, 40])]


def test_a_region_answered_before_is_refined_by_a_click() -> None:
    mask = disc(200, 100)
    answered_before = {
        "type": "brushlabels",
        "to_name": "image",
        "value": {"rle": encode_brush(mask), "brushlabels": ["cat"]},
    }
    [asked] = read_context([answered_before, click(30, 50, positive=False)], FRAME, "image")
    assert isinstance(asked.mask, Masks)
    assert asked.mask.equals(mask)
    assert asked.point_labels is not None
    assert asked.point_labels.tolist() == [0]


def test_a_polygon_is_a_mask_and_a_text_is_words() -> None:
    polygon = {"type": "polygonlabels", "to_name": "image", "value": {"points": [[0, 0], [50, 0], [50, 100]]}}
    text = {"type": "textarea", "to_name": "image", "value": {"text": ["a red car"]}}
    first, second = read_context([polygon, text], FRAME, "image")
    assert isinstance(first.mask, Masks)
    assert first.mask.areas[0] == pytest.approx(5000, abs=60)
    assert (second.text, second.label) == ("a red car", "a red car")


def test_clicks_on_the_background_alone_ask_for_nothing() -> None:
    assert read_context([click(50, 50, positive=False)], FRAME, "image") == []


def test_clicks_at_or_beyond_the_edge_are_on_it() -> None:
    [asked] = read_context([click(100.02, -0.01)], FRAME, "image")
    assert asked.points is not None
    assert asked.points.tolist() == [[200, 0]]


@pytest.mark.parametrize(
    "result",
    [
        "text",
        [7],
        [{"value": 7}],
        [{"type": "keypointlabels", "value": {"x": "a", "y": 1}}],
        [{"type": "keypointlabels", "value": {"x": float("nan"), "y": 1}}],
        [{"type": "keypointlabels", "value": {"x": 1e300, "y": 1}}],
        [{"type": "keypointlabels", "value": {"x": True, "y": 1}}],
        [{"type": "polygonlabels", "value": {"points": [[1, 2], [3, 4]]}}],
        [{"type": "polygonlabels", "value": {"points": [[1, 2], [3, 4, 5], [1]]}}],
        [{"type": "cubelabels", "value": {}}],
        [{"type": "brushlabels", "value": {"rle": [1, 2, 3]}}],
        [click(1, 1)] * 2001,
    ],
)
def test_a_malformed_context_is_refused_in_one_line(result: object) -> None:
    result = (
        [{"to_name": "image", **one} if isinstance(one, dict) else one for one in result]
        if isinstance(result, list)
        else result
    )
    with pytest.raises((PromptError, MaskError)) as caught:
        read_context(result, FRAME, "image")
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(
        ["id", "item_index",
         "type", "value", "to_name", "x", "y", "width", "height", "rotation", "points", "rle", "text", "is_positive",
         "keypointlabels", "radiusX", "radiusY", "labels"]), inner, max_size=6),
    max_leaves=24,
)  # fmt: skip


@pytest.mark.slow
@given(st.lists(JSON, max_size=5))
def test_any_json_is_prompts_or_one_of_our_errors(result: list[object]) -> None:
    with contextlib.suppress(PromptError, MaskError):
        read_context([{**one, "to_name": "image"} if isinstance(one, dict) else one for one in result], FRAME, "image")


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "to_name": st.just("image"),
                "type": st.sampled_from(
                    ["keypointlabels", "rectanglelabels", "ellipselabels", "polygonlabels", "brushlabels", "textarea"]
                ),
                "value": st.dictionaries(
                    st.sampled_from(["x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "rle"]),
                    st.floats() | st.lists(st.lists(st.floats(), max_size=3), max_size=5) | st.none(),
                ),
            }
        ),
        max_size=4,
    )
)
def test_nearly_right_regions_are_prompts_or_one_of_our_errors(result: list[object]) -> None:
    with contextlib.suppress(PromptError, MaskError):
        read_context(result, FRAME, "image")
