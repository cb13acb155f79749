"""One `Prompt`: what is valid, what is refused and how."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from samovar.errors import PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Exemplar, Prompt, Prompts

MASK = np.zeros((30, 40), bool)
MASK[5:9, 10:20] = True
LOGITS = np.linspace(-4, 4, 64, dtype=np.float32).reshape(8, 8)
EXEMPLAR = Exemplar(np.zeros((30, 40, 3), np.uint8), MASK)


def test_points_are_n_by_2_float32_and_foreground_unless_said() -> None:
    prompt = Prompt(points=[[1.0, 2.0], [3.5, 4.0]])
    assert prompt.points is not None
    assert prompt.point_labels is not None
    assert prompt.points.dtype == np.float32
    assert prompt.points.tolist() == [[1, 2], [3.5, 4]]
    assert prompt.point_labels.tolist() == [1, 1]
    assert prompt.point_labels.dtype == np.int8
    single = Prompt(points=(7, 8), point_labels=0)
    assert cast("NDArray[Any]", single.points).tolist() == [[7, 8]]
    assert cast("NDArray[Any]", single.point_labels).tolist() == [0]


def test_bool_and_integer_masks_are_kept_compact_and_float_ones_as_logits() -> None:
    for array in (MASK, MASK.astype(np.uint8) * 255, MASK[None], Masks.from_array(MASK[None])):
        mask = Prompt(mask=array).mask
        assert isinstance(mask, Masks)
        np.testing.assert_array_equal(mask.to_array()[0], MASK)
    logits = Prompt(mask=LOGITS.astype(np.float64)).mask
    assert isinstance(logits, np.ndarray)
    assert logits.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("top", [1, 255])
def test_floats_of_two_values_are_the_mask_that_they_show(dtype: type[np.floating[Any]], top: int) -> None:
    for array in (MASK, np.zeros_like(MASK), np.ones_like(MASK)):
        mask = Prompt(mask=array.astype(dtype) * top).mask
        assert isinstance(mask, Masks)
        np.testing.assert_array_equal(mask.to_array()[0], array)
    assert isinstance(Exemplar(np.zeros((30, 40, 3), np.uint8), MASK.astype(dtype)).mask, Masks)


@pytest.mark.parametrize("array", [MASK * 0.8 + 0.1, MASK * 0.5, np.full((4, 4), 7.0), MASK * 200.0 + 3])
def test_floats_that_are_neither_a_mask_nor_logits_are_to_be_thresholded(array: NDArray[np.float64]) -> None:
    read_only = (array * 1).astype(np.float32)
    read_only.flags.writeable = False
    for given in (array, array.astype(np.float32)) + ((read_only,) if array.max() <= 1 else ()):
        with pytest.raises(PromptError, match=r"got values from [\d.]+ to [\d.]+; threshold it, e\.g\. mask > "):
            Prompt(mask=given)


def test_an_answer_s_logits_are_logits_even_where_all_of_it_is_the_object() -> None:
    masks = Masks.from_array([np.ones_like(MASK)] * 2).replace(logits=[LOGITS + 9, np.full_like(LOGITS, 0.5)])
    prompt = Prompt.from_mask(masks[0], points=[(1, 1)])
    assert isinstance(prompt.mask, np.ndarray)
    columns = Prompts.of([prompt, replace(prompt, label="again")])
    assert isinstance(columns[1].mask, np.ndarray)
    assert isinstance(Prompt.from_mask(masks[1]).mask, Masks)  # what could be probabilities is left aside


def test_kinds_say_what_a_prompt_combines() -> None:
    assert Prompt(points=[[1, 2]], box=(0, 0, 5, 5)).kinds == {"points", "box"}
    assert Prompt(mask=MASK, text="cat", exemplar=EXEMPLAR).kinds == {"mask", "text", "exemplar"}


def test_an_exemplar_takes_any_image_and_any_mask() -> None:
    assert isinstance(EXEMPLAR.image, Image)
    assert isinstance(EXEMPLAR.mask, Masks)
    with pytest.raises(PromptError, match="got float logits"):
        Exemplar(np.zeros((8, 8, 3), np.uint8), LOGITS)


def test_prompts_do_not_change_when_the_callers_arrays_do() -> None:
    points, edges, logits = np.ones((2, 2), np.float32), np.array([0, 0, 5, 5], np.float32), LOGITS.copy()
    held = [Prompt(points=points, box=edges), Prompt(mask=logits)]
    boxes = edges[None].copy()
    columns = Prompts.from_boxes(boxes)
    points[:], edges[:], logits[:], boxes[:] = 9, 9, 9, 9
    assert cast("NDArray[Any]", held[0].points).tolist() == [[1, 1], [1, 1]]
    assert cast("NDArray[Any]", held[0].box).tolist() == [0, 0, 5, 5]
    np.testing.assert_array_equal(cast("Any", held[1].mask), LOGITS)
    assert columns.boxes.tolist() == [[0, 0, 5, 5]]
    for array in (held[0].points, held[0].box, held[0].point_labels, held[1].mask, columns.boxes, columns.points):
        assert not cast("NDArray[Any]", array).flags.writeable


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "empty prompt; give at least one"),
        ({"label": "bus", "id": 3}, "empty prompt"),
        ({"points": []}, r"N ≥ 1; got shape \(0,\)"),
        ({"points": [[1, 2, 3]]}, r"got shape \(1, 3\)"),
        ({"points": [[1, 2], [3]]}, r"points must be N×2 numbers .* got \[\[1, 2\], \[3\]\]"),
        ({"points": [["1", "2"]]}, "points must be N×2 numbers"),
        ({"points": [[True, False]]}, "points must be N×2 numbers"),
        ({"points": "1,2"}, "points must be N×2 numbers"),
        ({"points": [[1, None]]}, "points must be finite numbers"),
        ({"points": [[1, NAN]]}, "points must be finite numbers"),
        ({"points": [[1, INF]]}, "points must be finite numbers"),
        ({"points": [[1, 1e300]]}, "points must be finite numbers"),
        ({"points": [[1, 10**400]]}, "points must be"),
        ({"points": [[1, 2]], "point_labels": [1, 0]}, r"one per point \(1\); got shape \(2,\)"),
        ({"points": [[1, 2]], "point_labels": [2]}, r"1 \(foreground\) or 0 \(background\); got \[2\]"),
        ({"points": [[1, 2]], "point_labels": [-1]}, r"got \[-1\]"),
        ({"points": [[1, 2]], "point_labels": ["1"]}, r"got \['1'\]"),
        ({"points": [[1, 2]], "point_labels": [[1], [1, 0]]}, "point_labels must be"),
        ({"point_labels": [1]}, "point_labels given without points"),
        ({"box": (1, 2, 3)}, r"got shape \(3,\)"),
        ({"box": [[1, 2, 3, 4]]}, r"got shape \(1, 4\)"),
        ({"box": "abcd"}, "box must be 4 numbers"),
        ({"box": (5, 2, 5, 9)}, r"x1 < x2 and y1 < y2; got \[5.0, 2.0, 5.0, 9.0\]; order it"),
        ({"box": (5, 9, 8, 2)}, "x1 < x2 and y1 < y2"),
        ({"box": (NAN, 2, 3, 4)}, "box must be finite"),
        ({"box": (NAN, NAN, NAN, NAN)}, "box must be finite"),
        ({"box": (0, 0, INF, 4)}, "box must be finite"),
        ({"mask": np.zeros((2, 3, 4), bool)}, r"mask must be H×W; got shape \(2, 3, 4\)"),
        ({"mask": np.zeros((0, 4), bool)}, r"got shape \(0, 4\)"),
        ({"mask": [[1], [1, 2]]}, "mask must be H×W"),
        ({"mask": np.array([["a"]])}, "got dtype <U1"),
        ({"mask": np.full((4, 4), NAN)}, "logits must be finite"),
        ({"mask": np.full((4, 4), 1e300)}, "logits must be finite"),
        ({"mask": Masks.from_array(np.ones((2, 4, 4), bool))}, "is one mask; got 2; index it"),
        ({"text": ""}, "text must be words"),
        ({"text": " \n"}, "text must be words"),
        ({"text": 5}, "text must be words; got 5"),
        ({"exemplar": MASK}, "got ndarray; pass samovar.Exemplar"),
        ({"text": "cat", "label": 5}, "label must be a string; got 5"),
        ({"text": "cat", "id": 1.5}, "id must be an integer or a string; got 1.5"),
        ({"text": "cat", "id": True}, "id must be an integer or a string; got True"),
    ],
)
def test_a_bad_prompt_is_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        Prompt(**given)
    assert "\n" not in str(caught.value)


def answer() -> Masks:
    columns = {"labels": ["cup", "tea"], "ids": [1, 2]}
    return Masks.from_array([MASK, ~MASK]).replace(logits=np.stack([LOGITS, -LOGITS]), **columns)  # type: ignore[arg-type]


def test_a_mask_becomes_a_prompt_of_its_logits_or_else_its_pixels_with_label_and_id() -> None:
    masks = answer()
    prompt = Prompt.from_mask(masks[1])
    assert isinstance(prompt.mask, np.ndarray)
    np.testing.assert_array_equal(prompt.mask, -LOGITS)
    assert (prompt.label, prompt.id) == ("tea", 2)
    prompt = Prompt.from_mask(masks.replace(logits=None)[1])
    assert isinstance(prompt.mask, Masks)
    assert prompt.mask.equals(masks[1])
    prompt = Prompt.from_mask(MASK)
    assert isinstance(prompt.mask, Masks)
    assert (prompt.mask.equals(masks[0]), prompt.label, prompt.id) == (True, None, None)
    with pytest.raises(PromptError, match="a mask prompt is one mask; got 2; index it"):
        Prompt.from_mask(masks)


def test_a_mask_becomes_a_prompt_with_the_clicks_that_correct_it() -> None:
    prompt = Prompt.from_mask(answer()[0], points=[(1, 2), (3.5, 1)], point_labels=[1, 0])
    assert np.asarray(prompt.points).tolist() == [[1, 2], [3.5, 1]]
    assert np.asarray(prompt.point_labels).tolist() == [1, 0]
    assert (prompt.label, prompt.id) == ("cup", 1)
    assert np.asarray(Prompt.from_mask(answer()[0], points=[(1, 2)]).point_labels).tolist() == [1]
    with pytest.raises(PromptError):
        Prompt.from_mask(answer()[0], points=[(1, 2)], point_labels=[1, 0])
