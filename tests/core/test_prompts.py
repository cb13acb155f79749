"""`Prompts`: columns lose nothing, and what does not fit together or lies outside the image is named."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar.errors import PromptError
from samovar.masks import Masks
from samovar.prompts import Exemplar, Prompt, Prompts

WIDTH, HEIGHT = 40, 30
MASK = np.zeros((HEIGHT, WIDTH), bool)
MASK[5:9, 10:20] = True
LOGITS = np.linspace(-4, 4, 64, dtype=np.float32).reshape(8, 8)
NAN, INF = float("nan"), float("inf")
EXEMPLAR = Exemplar(np.zeros((HEIGHT, WIDTH, 3), np.uint8), MASK)

number = st.floats(0, 1000, width=32)
point_lists = st.lists(st.tuples(number, number, st.integers(0, 1)), min_size=1, max_size=4)
corners = st.tuples(number, number, st.floats(1, 500, width=32), st.floats(1, 500, width=32))
box = corners.map(lambda c: (c[0], c[1], c[0] + c[2], c[1] + c[3]))


@st.composite
def prompt(draw: st.DrawFn) -> Prompt:
    given: dict[str, Any] = {}
    if draw(st.booleans()):
        rows = draw(point_lists)
        given |= {"points": [row[:2] for row in rows], "point_labels": [row[2] for row in rows]}
    if draw(st.booleans()):
        given["box"] = draw(box)
    given["mask"] = draw(st.sampled_from([None, None, MASK, LOGITS]))
    given["exemplar"] = draw(st.sampled_from([None, None, EXEMPLAR]))
    given["text"] = draw(st.sampled_from([None, "a red car"]))
    if all(value is None for value in given.values()):
        given["box"] = draw(box)
    return Prompt(**given, label=draw(st.sampled_from([None, "bus", ""])), id=draw(st.sampled_from([None, 0, 7, "a"])))


def same(one: Prompt, other: Prompt) -> bool:
    """Whether two prompts ask for the same; prompts themselves compare by identity."""
    for name in ("points", "point_labels", "box"):
        a, b = getattr(one, name), getattr(other, name)
        if (a is None) != (b is None) or (a is not None and (a.dtype != b.dtype or not np.array_equal(a, b))):
            return False
    if isinstance(one.mask, np.ndarray):
        if not np.array_equal(one.mask, cast("Any", other.mask)):
            return False
    elif one.mask is not other.mask:
        return False
    return (one.text, one.label, one.id) == (other.text, other.label, other.id) and one.exemplar is other.exemplar


@pytest.mark.slow
@given(st.lists(prompt(), max_size=6))
def test_columns_give_every_prompt_back(rows: list[Prompt]) -> None:
    columns = Prompts.of(rows)
    assert len(columns) == len(rows)
    assert all(same(one, other) for one, other in zip(columns, rows))
    assert columns.kinds == frozenset().union(*(row.kinds for row in rows))
    assert Prompts.of(columns) is columns


@pytest.mark.slow
@given(st.lists(prompt(), max_size=6), st.data())
def test_slices_and_their_concatenation_lose_nothing(rows: list[Prompt], data: st.DataObject) -> None:
    columns = Prompts.of(rows)
    cut = data.draw(st.integers(-7, 7))
    parts = [columns[:cut], columns[cut:]]
    assert [len(part) for part in parts] == [len(rows[:cut]), len(rows[cut:])]
    assert all(same(one, other) for one, other in zip(columns[cut:], rows[cut:]))
    whole = Prompts.concat(parts)
    assert all(same(one, other) for one, other in zip(whole, rows[:cut] + rows[cut:]))
    assert len(Prompts.concat([])) == 0


@pytest.mark.slow
@given(st.lists(prompt(), min_size=1, max_size=4), st.integers(0, 3))
def test_indexing_counts_from_either_end(rows: list[Prompt], index: int) -> None:
    columns = Prompts.of(rows)
    if index < len(rows):
        assert same(columns[index], rows[index])
        assert same(columns[index - len(rows)], rows[index])
        assert same(columns[int(np.int64(index))], rows[index])
    else:
        with pytest.raises(IndexError):
            columns[index]


@pytest.mark.slow
@given(st.lists(box, max_size=8))
def test_arrays_of_boxes_and_points_make_one_prompt_a_row(boxes: list[tuple[float, ...]]) -> None:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    for columns in (Prompts.of(array), Prompts.from_boxes(boxes)):
        np.testing.assert_array_equal(columns.boxes, array.astype(np.float32))
        assert columns.kinds == ({"box"} if boxes else set())
    for columns in (Prompts.of(array[:, :2]), Prompts.from_points(array[:, :2])):
        np.testing.assert_array_equal(columns.points, array[:, :2].astype(np.float32))
        assert columns.point_offsets.tolist() == list(range(len(boxes) + 1))
        assert columns.kinds == ({"points"} if boxes else set())


def test_a_tensor_of_boxes_is_taken_like_an_array() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed, so there is no tensor to pass")
    assert Prompts.of(torch.tensor([[1, 2, 3, 4]])).boxes.tolist() == [[1, 2, 3, 4]]
    with pytest.raises(PromptError, match="boxes must be N×4"):
        Prompts.from_boxes(torch.ones(2, 4, requires_grad=True))


def test_labels_and_ids_ride_along_columns() -> None:
    columns = Prompts.from_boxes([[0, 0, 2, 2], [1, 1, 3, 3]], labels=["a", None], ids=np.array([4, 5]))
    assert [(row.label, row.id) for row in columns] == [("a", 4), (None, 5)]
    assert type(columns.ids[0]) is int
    assert Prompts.from_points([[1, 2]], labels=["a"], ids=["x"])[0].id == "x"
    assert Prompts.from_points([[1, 2]]).labels == ()


def test_an_empty_list_is_no_prompt() -> None:
    for empty in (Prompts.of([]), Prompts.from_boxes([]), Prompts.from_points([]), Prompts.of(np.zeros((0, 2)))):
        assert len(empty) == 0
        assert list(empty) == []
        assert empty.kinds == set()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Prompts.of(cast("Any", 5)), r"got 5; pass Prompt\(box=…\)"),
        (lambda: Prompts.of([(1, 2, 3)]), r"got \(1, 2, 3\); pass Prompt"),
        (lambda: Prompts.of(cast("Any", [[(1, 2), (3, 4)]])), r"got \[\(1, 2\), \(3, 4\)\]; pass Prompt"),
        (lambda: Prompts.of([(4, 2, 1, 4)]), "box must have x1 < x2"),
        (lambda: Prompts.of(cast("Any", [None])), "got None"),
        (lambda: Prompts.of(np.zeros((2, 3))), r"N×4 boxes or N×2 points; got shape \(2, 3\)"),
        (lambda: Prompts.of(np.zeros(3)), r"got shape \(3,\)"),
        (lambda: Prompts.of(np.array([["a"] * 4])), "boxes must be N×4 numbers"),
        (lambda: Prompts.from_boxes(cast("Any", [[1, 2, 3, 4], [1, 2, 3]])), "boxes must be N×4 numbers"),
        (lambda: Prompts.from_boxes([1, 2, 3, 4]), r"got shape \(4,\)"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1], [5, 5, 4, 6]]), r"\(prompt 1\); order it"),
        (lambda: Prompts.from_boxes([[0.0, 0, 1, 1], [5, NAN, 4, 6]]), r"finite numbers; got .* \(prompt 1\)"),
        (lambda: Prompts.from_boxes([[NAN] * 4]), "finite"),
        (lambda: Prompts.from_points([[1, 2, 3]]), "points must be N×2"),
        (lambda: Prompts.from_points([[1, INF]]), "finite"),
        (lambda: Prompts.from_points(cast("Any", None)), "points must be N×2"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1]] * 3, labels="bus"), r"labels must be one per prompt \(3\); got 1"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1]], ids=[1, 2]), r"ids must be one per prompt \(1\); got 2"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1]], labels=cast("Any", [5])), "label must be a string; got 5"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1]], ids=cast("Any", [1.5])), "id must be an integer"),
        (lambda: Prompts.from_boxes([[0, 0, 1, 1]])[::-1], "sliced with step 1; got -1"),
    ],
)
def test_bad_columns_are_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_columns_that_do_not_fit_together_are_refused() -> None:
    nothing = np.full((1, 4), np.nan, np.float32)
    point, label = np.ones((1, 2), np.float32), np.ones(1, np.int8)
    good = Prompts(nothing, point, label, np.array([0, 1]))
    assert good[0].kinds == {"points"}
    for broken in (
        (nothing, point, label, np.array([0, 0])),
        (nothing, point, label, np.array([0, 1, 1])),
        (nothing, point, label, np.array([1, 1])),
        (np.repeat(nothing, 3, axis=0), point, label, np.array([0, 1, 0, 1])),
        (nothing, point, np.ones(2, np.int8), np.array([0, 1])),
        (nothing, point, np.full(1, 5, np.int8), np.array([0, 1])),
        (nothing, np.full((1, 2), np.nan), label, np.array([0, 1])),
        (nothing[:, :3], point, label, np.array([0, 1])),
        (np.array([[np.nan, 1, 2, 3]]), point, label, np.array([0, 1])),
        (nothing, point[:0], label[:0], np.array([0, 0])),
    ):
        with pytest.raises(PromptError):
            Prompts(*broken)


# ------------------------------------------------------------------------------------------- inside the image


@pytest.mark.parametrize(
    "inside",
    [
        Prompt(points=[[0, 0], [WIDTH, HEIGHT]]),
        Prompt(box=(-5, -5, 1, 1)),
        Prompt(box=(WIDTH - 1, HEIGHT - 1, WIDTH + 9, HEIGHT + 9)),
        Prompt(mask=MASK),
        Prompt(mask=LOGITS),
        Prompt(text="cat"),
    ],
)
def test_prompts_that_touch_the_image_are_fine(inside: Prompt) -> None:
    Prompts.of(inside).check_inside(WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("outside", "message"),
    [
        (Prompt(points=[[1, 1], [41, 2]]), r"point \(41, 2\) is outside the image; expected 0 ≤ x ≤ 40, 0 ≤ y ≤ 30"),
        (Prompt(points=[[-0.5, 2]]), r"point \(-0.5, 2\) is outside"),
        (Prompt(box=(40, 0, 50, 5)), r"box \[40.0, 0.0, 50.0, 5.0\] misses the image"),
        (Prompt(box=(0, -9, 5, 0)), r"box \[0.0, -9.0, 5.0, 0.0\] misses the image"),
        (Prompt(mask=MASK.T), "mask is 30×40 but the image is 40×30; resize the mask first"),
    ],
)
def test_prompts_outside_the_image_are_named_with_their_number(outside: Prompt, message: str) -> None:
    with pytest.raises(PromptError, match=f"^{message}"):
        Prompts.of(outside).check_inside(WIDTH, HEIGHT)
    with pytest.raises(PromptError, match=f"^prompt 2: {message}"):
        Prompts.of([Prompt(points=[[1, 1], [2, 2]]), Prompt(text="cat"), outside]).check_inside(WIDTH, HEIGHT)


@pytest.mark.parametrize("boxes", [[[0.1, 0.2, 0.6, 0.9]], [[0.1, 0.2, 0.6, 0.9], [0, 0, 1, 1]], [[0, 0, 1, 0.5]]])
def test_boxes_in_shares_of_the_image_are_noticed(boxes: list[list[float]]) -> None:
    with pytest.raises(
        PromptError, match="lies within one pixel of the 600×400 image; boxes are in pixels, multiply x by"
    ):
        Prompts.from_boxes(boxes).check_inside(600, 400)


@pytest.mark.parametrize(
    "boxes", [[[0, 0, 1, 1]], [[0.1, 0.2, 0.6, 1.1]], [[0.1, 0.2, 0.6, 0.9], [3, 4, 50, 60]], [[-0.5, 0, 0.5, 0.5]]]
)
def test_a_box_around_the_first_pixel_is_a_box(boxes: list[list[float]]) -> None:
    Prompts.from_boxes(boxes).check_inside(600, 400)


def test_in_an_image_of_one_pixel_shares_are_pixels() -> None:
    Prompts.from_boxes([[0.1, 0.2, 0.6, 0.9]]).check_inside(1, 1)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([1, 2, 30, 40], [Prompt(box=(1, 2, 30, 40))]),
        ((1, 2), [Prompt(points=[(1, 2)])]),
        ([[1, 2, 30, 40], (5, 6, 7, 8)], [Prompt(box=(1, 2, 30, 40)), Prompt(box=(5, 6, 7, 8))]),
        ([(1, 2), np.array([3, 4])], [Prompt(points=[(1, 2)]), Prompt(points=[(3, 4)])]),
        (np.array([1, 2, 30, 40]), [Prompt(box=(1, 2, 30, 40))]),
        ("a cup", [Prompt(text="a cup")]),
        (
            [(1, 2, 3, 4), "cup", Prompt(points=[(5, 6)])],
            [Prompt(box=(1, 2, 3, 4)), Prompt(text="cup"), Prompt((5, 6))],
        ),
    ],
)
def test_plain_rows_of_numbers_are_boxes_and_points_and_words_are_text(given: Any, meant: list[Prompt]) -> None:
    columns, expected = Prompts.of(given), Prompts.of(meant)
    np.testing.assert_array_equal(columns.boxes, expected.boxes)
    np.testing.assert_array_equal(columns.points, expected.points)
    assert (columns.texts, columns.kinds) == (expected.texts, expected.kinds)


def test_columns_given_directly_are_checked_like_those_of_single_prompts() -> None:
    rest = np.zeros((0, 2), np.float32), np.zeros(0, np.int8), np.zeros(2, np.int64)
    boxes, mask = np.array([[1, 2, 3, 4]], np.float32), np.ones((6, 8), bool)
    assert isinstance(Prompts(boxes, *rest, masks=(mask,)).masks[0], Masks)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"masks": (np.full((6, 8), 0.5),)}, "threshold it"),
        ({"texts": (" ",)}, "text must be words"),
        ({"exemplars": (mask,)}, "exemplar must show an object"),
        ({"labels": (3,)}, "label must be a string"),
    ]
    for column, message in wrong:
        with pytest.raises(PromptError, match=message):
            Prompts(boxes, *rest, **column)
