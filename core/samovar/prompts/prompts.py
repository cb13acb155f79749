"""`Prompts`: all prompts of one image, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Number
from typing import TYPE_CHECKING, Any, TypeAlias, Union, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import PromptError, one_line
from samovar.prompts.prompt import (
    Exemplar,
    Prompt,
    check_boxes,
    check_exemplar,
    check_label,
    check_points,
    check_text,
    frozen,
    to_boxes,
    to_id,
    to_mask,
    to_numbers,
    to_point_labels,
    to_points,
)
from samovar.types import KINDS, Kind, ObjectId, trusted

if TYPE_CHECKING:
    from samovar.masks import Masks

__all__ = ["PromptLike", "Prompts", "PromptsLike"]

PromptLike: TypeAlias = Prompt | str | Sequence[float] | NDArray[Any]
"""One prompt: a `Prompt`, words, or plain numbers: x1 y1 x2 y2 of a box, x y of a foreground point."""

PromptsLike: TypeAlias = Union[PromptLike, "Prompts", Sequence[PromptLike]]
"""What the runtime accepts for one image: a prompt, a sequence of them, N×4 boxes or N×2 points, or `Prompts`."""

_COLUMNS = ("masks", "texts", "exemplars", "labels", "ids")  # in the order of `Prompt`'s fields


@dataclass(frozen=True, eq=False, repr=False)
class Prompts:
    """All prompts of one image, in columns, so that a thousand boxes cost one array and no Python object each.

    Attributes:
        boxes: N×4 float32, x1 y1 x2 y2 in pixels; a row of NaN where that prompt has no box.
        points: P×2 float32, all prompts' points one after another, (x, y) in pixels.
        point_labels: P int8, 1 foreground, 0 background.
        point_offsets: N+1 int64; prompt i owns points[point_offsets[i]:point_offsets[i + 1]].
        masks, texts, exemplars, labels, ids: N entries each, None where absent; () when no prompt has one.
    """

    boxes: NDArray[np.float32]
    points: NDArray[np.float32]
    point_labels: NDArray[np.int8]
    point_offsets: NDArray[np.int64]
    masks: tuple[Masks | NDArray[np.float32] | None, ...] = ()
    texts: tuple[str | None, ...] = ()
    exemplars: tuple[Exemplar | None, ...] = ()
    labels: tuple[str | None, ...] = ()
    ids: tuple[ObjectId, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("boxes", "points"):
            array = to_numbers(getattr(self, name), f"{name} must be numbers in pixels", "see Prompts.from_boxes")
            put(self, name, frozen(array))
        put(self, "point_labels", to_point_labels(self.point_labels, len(self.points)))
        offsets = np.asarray(self.point_offsets)
        if offsets.dtype.kind not in "iu":
            raise PromptError(f"point_offsets must be integers; got dtype {offsets.dtype}; see Prompts.of")
        put(self, "point_offsets", frozen(offsets.astype(np.int64, copy=False)))
        for name in _COLUMNS:
            column = _column(getattr(self, name))
            if column and len(column) != len(self):
                raise PromptError(f"{name} must be one per prompt ({len(self)}); got {len(column)}; use None for none")
            put(self, name, column if any(item is not None for item in column) else ())
        put(self, "masks", tuple(None if mask is None else to_mask(mask) for mask in self.masks))
        put(self, "ids", tuple(to_id(item) for item in self.ids))
        for name, check in (("texts", check_text), ("exemplars", check_exemplar), ("labels", check_label)):
            for item in getattr(self, name):
                check(item)
        self._check_arrays()

    @classmethod
    def _trusted(
        cls,
        boxes: NDArray[np.float32],
        points: NDArray[np.float32],
        point_labels: NDArray[np.int8],
        point_offsets: NDArray[np.int64],
        *columns: tuple[Any, ...],
    ) -> Prompts:
        """Parts of prompts that were checked before; arrays are new ones or views of theirs."""
        arrays = boxes, points, point_labels, point_offsets
        for array in arrays:
            array.setflags(write=False)
        filled = (column if any(item is not None for item in column) else () for column in columns)
        return trusted(cls, (*arrays, *filled))

    @cached_property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of prompt there are among these."""
        present = {
            "points": len(self.points) > 0,
            "box": not np.isnan(self.boxes).all(),
            "mask": bool(self.masks),
            "text": bool(self.texts),
            "exemplar": bool(self.exemplars),
        }
        return frozenset(kind for kind in KINDS if present[kind])

    def _check_arrays(self) -> None:
        count, offsets = len(self.boxes), self.point_offsets
        if self.boxes.shape != (count, 4) or self.points.shape != (len(self.points), 2):
            got = f"{self.boxes.shape} and {self.points.shape}"
            raise PromptError(f"boxes and points must be N×4 and P×2; got shapes {got}; see Prompts.from_boxes")
        if (
            offsets.shape != (count + 1,)
            or (offsets[0], offsets[-1]) != (0, len(self.points))
            or (np.diff(offsets) < 0).any()
        ):
            raise PromptError(
                f"point_offsets must rise from 0 to {len(self.points)}, the number of points, in {count} steps; "
                f"got {np.array2string(offsets, threshold=8, max_line_width=200)}; see Prompts.of"
            )
        check_boxes(self.boxes, absent=True)
        check_points(self.points)
        empty = np.isnan(self.boxes).all(axis=1) & (np.diff(offsets) == 0)
        for column in (self.masks, self.texts, self.exemplars):
            if column:
                empty &= [item is None for item in column]
        if empty.any():
            row = int(empty.argmax())
            raise PromptError(f"empty prompt {row}; give it at least one of points, box, mask, text, exemplar")

    @classmethod
    def from_boxes(
        cls, boxes: ArrayLike, *, labels: Iterable[str | None] = (), ids: Iterable[ObjectId] = ()
    ) -> Prompts:
        """One prompt per row of N×4 boxes (x1 y1 x2 y2, pixels). Raises PromptError for a wrong shape, NaN, no area."""
        array = to_boxes(boxes)
        none = np.zeros((0, 2), np.float32), np.zeros(0, np.int8), np.zeros(len(array) + 1, np.int64)
        return cls(array, *none, labels=_column(labels), ids=_column(ids))

    @classmethod
    def from_points(
        cls, points: ArrayLike, *, labels: Iterable[str | None] = (), ids: Iterable[ObjectId] = ()
    ) -> Prompts:
        """One prompt per row of N×2 foreground points ((x, y), pixels). Raises PromptError for a wrong shape or NaN."""
        none = isinstance(points, (Sequence, np.ndarray)) and len(points) == 0
        array = np.zeros((0, 2), np.float32) if none else to_points(points)
        count = len(array)
        return cls(
            np.full((count, 4), np.nan, np.float32),
            array,
            np.ones(count, np.int8),
            np.arange(count + 1, dtype=np.int64),
            labels=_column(labels),
            ids=_column(ids),
        )

    @classmethod
    def of(cls, prompts: PromptsLike) -> Prompts:
        """`prompts` in columns; `Prompts` are given back as they are.

        Args:
            prompts: one prompt, a sequence of them, or an array of N×4 boxes or N×2 points. For a prompt may stand four
                numbers (a box), two numbers (a foreground point) or words (text).

        Raises:
            PromptError: anything else, or a prompt that is not valid.
        """
        if isinstance(prompts, Prompts):
            return prompts
        if hasattr(prompts, "__array__"):
            array = np.atleast_2d(np.asarray(prompts))
            if array.ndim == 2 and array.shape[1] in (2, 4):
                return cls.from_boxes(array) if array.shape[1] == 4 else cls.from_points(array)
            raise PromptError(
                f"an array of prompts must be N×4 boxes or N×2 points; got shape {np.shape(prompts)}; reshape it"
            )
        given = list(prompts) if isinstance(prompts, Iterable) and not isinstance(prompts, str) else [prompts]
        rows = [_prompt(row) for row in ([given] if _numbers(given) else given)]
        counts = [0 if row.points is None else len(row.points) for row in rows]
        points = [row.points for row in rows if row.points is not None]
        point_labels = [row.point_labels for row in rows if row.point_labels is not None]
        absent = np.full(4, np.nan, np.float32)
        return cls._trusted(
            np.array([absent if row.box is None else row.box for row in rows], np.float32).reshape(-1, 4),
            np.concatenate([np.zeros((0, 2), np.float32), *points]),
            np.concatenate([np.zeros(0, np.int8), *point_labels]),
            np.cumsum([0, *counts], dtype=np.int64),
            tuple(row.mask for row in rows),
            tuple(row.text for row in rows),
            tuple(row.exemplar for row in rows),
            tuple(row.label for row in rows),
            tuple(row.id for row in rows),
        )

    @classmethod
    def concat(cls, parts: Sequence[Prompts]) -> Prompts:
        """All prompts of `parts`, in order."""
        if not parts:
            return cls.from_boxes(np.zeros((0, 4), np.float32))
        starts = np.cumsum([0, *(len(part.points) for part in parts)])
        offsets = [part.point_offsets[:-1] + start for part, start in zip(parts, starts)]

        columns = (
            tuple(item for part in parts for item in (getattr(part, name) or (None,) * len(part))) for name in _COLUMNS
        )
        return cls._trusted(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.point_labels for part in parts]),
            np.concatenate([*offsets, starts[-1:]]).astype(np.int64),
            *columns,
        )

    def __repr__(self) -> str:
        kinds = ", ".join(kind for kind in KINDS if kind in self.kinds)
        return f"Prompts({len(self)}{f'; kinds {kinds}' if kinds else ''})"

    def __len__(self) -> int:
        return len(self.boxes)

    def __iter__(self) -> Iterator[Prompt]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, key: int) -> Prompt: ...
    @overload
    def __getitem__(self, key: slice) -> Prompts: ...
    def __getitem__(self, key: int | slice) -> Prompt | Prompts:
        """`prompts[3]` is a `Prompt`; `prompts[3:7]` are `Prompts`."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step != 1:
                raise PromptError(f"prompts are sliced with step 1; got {step}; pick them one by one")
            stop = max(start, stop)
            if stop - start == len(self):
                return self
            low, high = int(self.point_offsets[start]), int(self.point_offsets[stop])
            offsets = self.point_offsets[start : stop + 1] - low
            columns = (getattr(self, name)[start:stop] for name in _COLUMNS)
            boxes, points, labels = self.boxes[start:stop], self.points[low:high], self.point_labels[low:high]
            return Prompts._trusted(boxes, points, labels, offsets, *columns)
        index = range(len(self))[key]
        low, high = int(self.point_offsets[index]), int(self.point_offsets[index + 1])
        box = self.boxes[index]
        columns = (column[index] if column else None for column in (getattr(self, name) for name in _COLUMNS))
        clicks = (self.points[low:high], self.point_labels[low:high]) if high > low else (None, None)
        return trusted(Prompt, (*clicks, None if np.isnan(box[0]) else box, *columns))

    def check_inside(self, width: int, height: int) -> None:
        """Check against the size of the image.

        Raises:
            PromptError: a point outside, a box that misses it, boxes in shares of it (all of them within its first
                pixel), or a mask of another size.
        """
        x, y = self.points[:, 0], self.points[:, 1]
        bad = (x < 0) | (y < 0) | (x > width) | (y > height)
        if bad.any():
            first = int(bad.argmax())
            px, py = self.points[first]
            where = self._named(int(np.searchsorted(self.point_offsets, first, "right")) - 1)
            raise PromptError(
                f"{where}point ({px:g}, {py:g}) is outside the image; expected 0 ≤ x ≤ {width}, 0 ≤ y ≤ {height}"
            )
        x1, y1, x2, y2 = self.boxes.T
        bad = (x1 >= width) | (y1 >= height) | (x2 <= 0) | (y2 <= 0)
        if bad.any():
            first = int(bad.argmax())
            raise PromptError(
                f"{self._named(first)}box {self.boxes[first].tolist()} misses the image; "
                f"expected some of 0 ≤ x ≤ {width}, 0 ≤ y ≤ {height}"
            )
        if len(x1) and not ((x2 > 1) | (y2 > 1)).any() and width * height > 1:
            given = self.boxes[~np.isnan(x1)]
            if (given >= 0).all() and (given % 1 > 0).any():
                raise PromptError(
                    f"box {' '.join(f'{edge:g}' for edge in given[0])} lies within one pixel of the {width}×{height} "
                    f"image; boxes are in pixels, multiply x by {width} and y by {height}"
                )
        for index, mask in enumerate(self.masks):
            if mask is not None and not isinstance(mask, np.ndarray) and (mask.width, mask.height) != (width, height):
                raise PromptError(
                    f"{self._named(index)}mask is {mask.width}×{mask.height} but the image is {width}×{height}; "
                    "resize the mask first"
                )

    def _named(self, index: int) -> str:
        return f"prompt {index}: " if len(self) > 1 else ""


def _numbers(row: Any) -> bool:
    """Whether this is a box or a point as plain numbers."""
    return isinstance(row, (list, tuple)) and len(row) in (2, 4) and all(isinstance(one, Number) for one in row)


def _prompt(row: Any) -> Prompt:
    if isinstance(row, Prompt):
        return row
    if isinstance(row, str):
        return Prompt(text=row)
    numbers = row.tolist() if isinstance(row, np.ndarray) and row.ndim == 1 else row
    if _numbers(numbers):
        return Prompt(box=numbers) if len(numbers) == 4 else Prompt(points=numbers)
    raise PromptError(
        f"a prompt must be a samovar.Prompt, 4 numbers (a box), 2 numbers (a point) or words; got {one_line(row, 80)}; "
        "pass Prompt(box=…) or the like"
    )


def _column(values: Iterable[Any]) -> tuple[Any, ...]:
    """One entry a prompt. A lone string is an iterable of letters, and never meant as that."""
    return (values,) if isinstance(values, str) else tuple(values)
