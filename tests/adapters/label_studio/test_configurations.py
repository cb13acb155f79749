"""What labelling configurations can say, as people write them and as the editor reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from samovar import Image, Masks, Prompts
from samovar.errors import MaskError
from samovar_adapters.label_studio.predictor import BackendOptions
from samovar_adapters.label_studio.prompts import read_context
from samovar_adapters.label_studio.regions import ImageSize, decode_bitmask, decode_brush
from tests.adapters.label_studio.backends import backend
from tests.fakes import FilledBoxes

IMAGE = '<Image name="image" value="$image"/>'
TWO = '<Label value="cat"/><Label value="dog"/>'
BRUSH = f'<BrushLabels name="brush" toName="image">{TWO}</BrushLabels>'
POINTS = f'<KeyPointLabels name="point" toName="image" smart="true">{TWO}</KeyPointLabels>'
RED = "/data/upload/51.png"

Drawn = list[dict[str, Any]]


def answered(
    config: str, drawn: list[dict[str, Any]] | None, data: dict[str, Any] | None = None, **options: Any
) -> Any:
    """The one prediction, as Label Studio gets it; an error if it was refused."""
    body: dict[str, Any] = {
        "tasks": [{"id": 1, "data": data or {"image": RED}}],
        "label_config": f"<View>{config}</View>",
    }
    body["params"] = {"context": None if drawn is None else {"result": drawn}}
    with backend(**options) as (client, _, _):
        response = client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    (prediction,) = response.json()["results"]
    return prediction


def regions(config: str, drawn: list[dict[str, Any]], data: dict[str, Any] | None = None, **options: Any) -> Any:
    return answered(config, drawn, data, **options)["result"]


def point(label: str | None = "cat", **more: Any) -> dict[str, Any]:
    value = {"x": 50, "y": 50, "width": 1, **({} if label is None else {"keypointlabels": [label]})}
    return {
        "id": "k1",
        "from_name": "point",
        "type": "keypointlabels",
        "to_name": "image",
        "is_positive": True,
        "value": value,
        **more,
    }


class Middle:
    """A source that finds a cat in the middle of every image."""

    def prompts(self, images: Sequence[Image], requests: object = None) -> list[Prompts]:
        return [Prompts.from_boxes([[5, 5, 15, 15]], labels=["cat"]) for _ in images]


# ------------------------------------------------------------------------------------------------- several images

PAGES = f'<Image name="image" valueList="$pages"/>{BRUSH}{POINTS}'
PAGED = {"pages": ["/data/upload/51.png", "/data/upload/102.png"]}


def test_a_click_on_a_page_is_answered_on_that_page() -> None:
    for item, score in ((0, 0.2), (1, 0.4)):
        [region] = regions(PAGES, [point(item_index=item)], PAGED)
        assert (region["item_index"], region["score"]) == (item, score)


def test_clicks_on_other_pages_are_not_meant() -> None:
    segmenter = FilledBoxes()
    other = point(item_index=0, value={"x": 1, "y": 1, "width": 1, "keypointlabels": ["cat"]})
    [alone] = regions(PAGES, [point(item_index=1)], PAGED)
    [region] = regions(PAGES, [other, point(item_index=1)], PAGED, segmenter=segmenter)
    assert region["value"]["rle"] == alone["value"]["rle"]
    assert segmenter.encoded == ["102.png"], "only the page that was clicked on"


def test_a_page_that_is_not_there_is_said() -> None:
    with pytest.raises(AssertionError, match="expected one of 2 images; got item_index 5"):
        regions(PAGES, [point(item_index=5)], PAGED)


def test_every_page_of_a_batch_is_predicted_and_says_which_it_is() -> None:
    options = BackendOptions(whole=True, source=Middle())
    found = answered(PAGES, None, PAGED, options=options)
    assert [(one["item_index"], one["score"]) for one in found["result"]] == [(0, 0.2), (1, 0.4)]


def test_a_tag_with_one_image_has_no_pages() -> None:
    [region] = regions(IMAGE + BRUSH + POINTS, [point()])
    assert "item_index" not in region


REPEATED = f"""<Repeater on="$document" indexFlag="{{{{n}}}}" mode="pagination">
<Image name="page_{{{{n}}}}" value="$document[{{{{n}}}}].scan.url"/>
<BrushLabels name="brush_{{{{n}}}}" toName="page_{{{{n}}}}">{TWO}</BrushLabels>
<KeyPointLabels name="k_{{{{n}}}}" toName="page_{{{{n}}}}">{TWO}</KeyPointLabels></Repeater>"""


def test_the_tags_that_a_repeater_makes_are_there() -> None:
    data = {"document": [{"scan": {"url": f"/data/upload/{red}.png"}} for red in (51, 102, 153)]}
    [region] = regions(REPEATED, [point(to_name="page_2", from_name="k_2")], data)
    assert (region["from_name"], region["to_name"], region["score"]) == ("brush_2", "page_2", 0.6)
    found = answered(REPEATED, None, data, options=BackendOptions(whole=True, source=Middle()))
    assert [one["to_name"] for one in found["result"]] == ["page_0", "page_1", "page_2"]
    with pytest.raises(AssertionError, match="expected regions of page_0, page_1, page_2; got none"):
        regions(REPEATED, [point(to_name="page_3")], data)


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ("$photo.url", {"photo": {"url": RED}}),
        ("$images[0]", {"images": [RED, "/data/upload/1.png"]}),
        ("$a.list[1].file", {"a": {"list": [{}, {"file": RED}]}}),
        ("$odd.name", {"odd.name": RED}),
        ("/data/upload/$name", {"name": "51.png"}),
        ("/data/$where.folder/$name", {"where": {"folder": "upload"}, "name": "51.png"}),
    ],
)
def test_addresses_lie_where_the_editor_looks_for_them(value: str, data: dict[str, Any]) -> None:
    [region] = regions(f'<Image name="image" value="{value}"/>{BRUSH}{POINTS}', [point()], data)
    assert region["score"] == 0.2


@pytest.mark.parametrize(
    "data", [{"image": None}, {"image": []}, {"image": {"url": RED}}, {"image": [RED, 7]}, {"other": 1}]
)
def test_data_without_an_address_is_said(data: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=r"task 1: expected an image in data\.image; got"):
        regions(IMAGE + BRUSH + POINTS, [point()], data)


# ------------------------------------------------------------------------------------------------- labels


def labelled(tags: str, drawn: list[dict[str, Any]], data: dict[str, Any] | None = None) -> Any:
    [region] = regions(IMAGE + tags, drawn, data)
    return region["type"], region["value"].get(region["type"])


def test_labels_are_called_by_their_aliases() -> None:
    both = '<Label value="A cat" alias="c"/><Label value="A dog" alias="d"/>'
    tags = "".join(
        f'<{kind}Labels name="{kind}" toName="image">{both}</{kind}Labels>' for kind in ("Brush", "KeyPoint")
    )
    assert labelled(tags, [point("d")]) == ("brushlabels", ["d"])


def test_labels_may_lie_deeper_and_in_the_data() -> None:
    tags = f'<BrushLabels name="b" toName="image"><View><Header value="x"/>{TWO}</View></BrushLabels>{POINTS}'
    assert labelled(tags, [point("dog")]) == ("brushlabels", ["dog"])
    tags = "".join(f'<{kind}Labels name="{kind}" toName="image" value="$of.labels"/>' for kind in ("Brush", "KeyPoint"))
    nested = [{"value": "animal", "children": [{"value": "A cow", "alias": "cow"}]}, "cat"]
    data = {"image": RED, "of": {"labels": nested}}
    for label in ("animal", "cow", "cat"):
        assert labelled(tags, [point(label)], data) == ("brushlabels", [label])


def test_several_labels_of_a_region_come_back() -> None:
    tags = f'<BrushLabels name="b" toName="image" choice="multiple">{TWO}</BrushLabels>{POINTS}'
    both = point(value={"x": 50, "y": 50, "width": 1, "keypointlabels": ["dog", "cat"]})
    assert labelled(tags, [both]) == ("brushlabels", ["dog", "cat"])


def test_the_editor_does_not_mind_how_tags_and_attributes_are_written() -> None:
    brush = f'<brushlabels name="brush" toname="image">{TWO.lower()}</brushlabels>'
    [region] = regions(f'<image name="image" value="$image"/>{brush}{POINTS}', [point("dog")])
    assert region["value"]["brushlabels"] == ["dog"]


LABELS = f"""{IMAGE}<Labels name="label" toName="image">{TWO}</Labels><Brush name="mask" toName="image"/>
<KeyPoint name="pt" toName="image"/><Rectangle name="bbox" toName="image"/>
<TextArea name="transcription" toName="image" perRegion="true"/>"""
PLACE = {"x": 50, "y": 50, "width": 1}


def of_labels(label: str = "dog", id: str = "r1") -> list[dict[str, Any]]:
    """As the editor serialises a key point whose label is of a `Labels` tag: two results of one id."""
    one = {"id": id, "to_name": "image", "original_width": 60, "original_height": 40}
    return [
        {**one, "from_name": "pt", "type": "keypoint", "value": PLACE},
        {**one, "from_name": "label", "type": "labels", "value": {**PLACE, "labels": [label]}},
    ]


def test_a_label_in_a_tag_of_its_own_is_read_and_answered_in_a_result_of_its_own() -> None:
    mask, label = regions(LABELS, of_labels())
    assert (mask["from_name"], mask["type"], label["from_name"], label["type"]) == ("mask", "brush", "label", "labels")
    assert mask["id"] == label["id"]
    assert label["value"] == {**mask["value"], "labels": ["dog"]}
    assert "labels" not in mask["value"]


def test_regions_with_labels_in_a_tag_of_their_own_are_told_apart() -> None:
    found = regions(LABELS, [*of_labels("dog"), *of_labels("cat", "r2")])
    assert [one["value"]["labels"] for one in found if one["type"] == "labels"] == [["dog"], ["cat"]]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("choices", {"choices": ["good"]}),
        ("rating", {"rating": 3}),
        ("number", {"number": 3}),
        ("taxonomy", {"taxonomy": [["a"]]}),
        ("datetime", {"datetime": "2020"}),
        ("textarea", {"text": ["what it says"]}),
    ],
)
def test_what_else_is_said_of_a_region_is_no_region(kind: str, value: dict[str, Any]) -> None:
    of_it = {**point(), "type": kind, "from_name": kind, "value": {**PLACE, **value}}
    of_the_image = {"id": "i1", "type": kind, "to_name": "image", "from_name": kind, "value": value}
    plain = regions(IMAGE + BRUSH + POINTS, [point()])
    for drawn in ([point(), of_it], [point(), of_the_image]):
        assert [one["value"] for one in regions(IMAGE + BRUSH + POINTS, drawn)] == [one["value"] for one in plain]


# ------------------------------------------------------------------------------------------------- which tag answers

ONE = '<Label value="thing"/>'
BOXES = f'<RectangleLabels name="r" toName="image" smart="false">{TWO}</RectangleLabels>'
ASKING = BOXES.replace("false", "true")
KEYS = POINTS.replace("point", "k").replace('smart="true"', "")
OTHER = '<Label value="thing"/><Label value="object"/>'


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        (f'<BrushLabels name="b" toName="image">{OTHER}</BrushLabels>{POINTS}', ("brushlabels", None)),
        (f'<BrushLabels name="b" toName="image">{ONE}</BrushLabels>{POINTS}', ("brushlabels", ["thing"])),
        (f'<KeyPointLabels name="k" toName="image">{TWO}</KeyPointLabels>{BRUSH}', ("brushlabels", ["cat"])),
        (f'{POINTS}<Brush name="b" toName="image"/>', ("brush", None)),
        (POINTS, ("keypointlabels", ["cat"])),
        # As HumanSignal's AdvancedSAM has them: nothing says which is smart, so all are.
        (f'{POINTS}<RectangleLabels name="r" toName="image">{TWO}</RectangleLabels>{BRUSH}', ("brushlabels", ["cat"])),
        # Where it is said, the first that does not ask.
        (f"{BOXES}{BRUSH}", ("rectanglelabels", ["cat"])),
        # Key points that are there for answers, beside the ones that were clicked with.
        (f"{KEYS}{POINTS}{ASKING}", ("keypointlabels", ["cat"])),
        (f"{POINTS}{ASKING}", ("rectanglelabels", ["cat"])),
    ],
)
@pytest.mark.slow
def test_a_click_is_never_answered_with_a_click(tags: str, wanted: Any) -> None:
    assert labelled(tags, [point()]) == wanted


def test_a_bitmask_is_a_png_of_the_mask_and_back() -> None:
    tags = f'<BitmaskLabels name="bits" toName="image">{TWO}</BitmaskLabels>'
    [brush] = regions(IMAGE + BRUSH + POINTS, [point()])
    [region] = regions(IMAGE + tags + POINTS, [point()])
    assert (region["type"], region["value"]["bitmasklabels"]) == ("bitmasklabels", ["cat"])
    mask = decode_bitmask(region["value"]["imageDataURL"], 60, 40)
    assert mask.equals(decode_brush(brush["value"]["rle"], 60, 40))
    again = {"id": "b", "type": "bitmasklabels", "to_name": "image", "value": region["value"]}
    [prompt] = read_context([again, point()], ImageSize(60, 40), "image")
    assert isinstance(prompt.mask, Masks)
    assert prompt.mask.equals(mask), "refined by a click"
    for broken in ("data:image/png;base64,AAAA", "x", None, 7):
        with pytest.raises(MaskError, match="imageDataURL must be a PNG"):
            read_context([{**again, "value": {"imageDataURL": broken}}], ImageSize(60, 40), "image")


@pytest.mark.parametrize("smart", ["", 'smart="true"'])
def test_tools_are_smart_unless_told_otherwise(smart: str) -> None:
    """Whoever opens a task there must not find the image covered before the first click."""
    tags = f'{IMAGE}<BrushLabels name="b" toName="image" {smart}><Label value="cat"/></BrushLabels>'
    assert "smart tools" in answered(tags, None)["error"]
    plain = f'{IMAGE}<BrushLabels name="b" toName="image" smart="false"><Label value="cat"/></BrushLabels>'
    assert "result" in answered(plain, None)


# ------------------------------------------------------------------------------------------------- batches


def test_an_image_that_breaks_the_model_takes_no_other_tasks_prediction_with_it() -> None:
    class Breaks(FilledBoxes):
        def encode(self, images: Sequence[Image]) -> Any:
            if any(image.name == "102.png" for image in images):
                raise ZeroDivisionError
            return super().encode(images)

    tasks = [{"id": red, "data": {"image": f"/data/upload/{red}.png"}} for red in (51, 102, 153)]
    body = {"tasks": tasks, "label_config": f"<View>{IMAGE}{BRUSH}</View>", "params": {}}
    with backend(Breaks(), BackendOptions(whole=True, source=Middle())) as (client, _, _):
        results = client.post("/predict", json=body).json()["results"]
    assert [len(one.get("result", ())) for one in results] == [1, 0, 1]
    assert results[1]["error"] == "an error inside the server; its log says more"
