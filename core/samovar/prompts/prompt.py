"""One `Prompt`: what describes one wanted object; and what makes points, boxes, masks, labels and ids valid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import PromptError
from samovar.masks import Masks
from samovar.types import KINDS, Kind, ObjectId

if TYPE_CHECKING:
    from samovar.image import Image, ImageLike

__all__ = [
    "Exemplar",
    "Prompt",
    "check_boxes",
    "check_exemplar",
    "check_label",
    "check_points",
    "check_text",
    "frozen",
    "to_boxes",
    "to_id",
    "to_mask",
    "to_numbers",
    "to_point_labels",
    "to_points",
]


@dataclass(frozen=True, eq=False)
class Exemplar:
    """An example of what to find.

    Attributes:
        image: the one that shows it; anything that `Image` can be made of.
        mask: one `Masks` item, or an H×W bool or integer array, at the size of `image`.

    Raises:
        PromptError: not one mask.
        ImageError: a source that cannot be an image.
    """

    image: Image
    mask: Masks

    if TYPE_CHECKING:

        def __init__(self, image: ImageLike, mask: Masks | ArrayLike) -> None: ...

    def __post_init__(self) -> None:
        from samovar.image import Image

        mask = to_mask(self.mask)
        if isinstance(mask, np.ndarray):
            raise PromptError("an exemplar's mask must be bool or integer; got float logits; threshold them")
        if not isinstance(self.image, Image):
            object.__setattr__(self, "image", Image(self.image))
        object.__setattr__(self, "mask", mask)


@dataclass(frozen=True, eq=False, repr=False)
class Prompt:
    """One requested object. Any of these may be given together; a segmenter uses them all.

    Attributes:
        points: N×2 float32, pixels of the original image, (x, y), pixel centres at +0.5.
        point_labels: N int8, 1 foreground, 0 background. All 1 if not given.
        box: 4 float32, x1 y1 x2 y2 in pixels.
        mask: the object's rough mask: one `Masks` item or an H×W array at the image's size, bool or integer (non-zero
            is the object) or float with no values but 0 and 1 (or 255); or h×w float32 low-res logits as an earlier
            answer of the same segmenter had them, negative outside of the object.
        text: words naming the object.
        exemplar: an image and mask showing one such object.
        label: rides through to the mask.
        id: rides through to the mask.

    Raises:
        PromptError: nothing given, a wrong shape, a NaN, or a box without area.
    """

    points: NDArray[np.float32] | None = None
    point_labels: NDArray[np.int8] | None = None
    box: NDArray[np.float32] | None = None
    mask: Masks | NDArray[np.float32] | None = None
    text: str | None = None
    exemplar: Exemplar | None = None
    label: str | None = None
    id: ObjectId = None

    if TYPE_CHECKING:  # callers may pass anything array-like; the attributes are what validation made of it

        def __init__(
            self,
            points: ArrayLike | None = None,
            point_labels: ArrayLike | None = None,
            box: ArrayLike | None = None,
            mask: Masks | ArrayLike | None = None,
            text: str | None = None,
            exemplar: Exemplar | None = None,
            label: str | None = None,
            id: ObjectId = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.points is not None:
            put(self, "points", to_points(self.points))
            put(self, "point_labels", to_point_labels(self.point_labels, len(self.points)))
        elif self.point_labels is not None:
            raise PromptError("point_labels given without points; pass points=[[x, y], …] too")
        if self.box is not None:
            put(self, "box", to_box(self.box))
        if self.mask is not None:
            put(self, "mask", to_mask(self.mask))
        check_text(self.text)
        check_exemplar(self.exemplar)
        check_label(self.label)
        put(self, "id", to_id(self.id))
        if not self.kinds:
            raise PromptError("empty prompt; give at least one of points, box, mask, text, exemplar")

    def __repr__(self) -> str:
        parts = []
        for name in self.__match_args__:
            value = getattr(self, name)
            if value is None or (name == "point_labels" and value.all()):
                continue
            if name == "mask" and isinstance(value, np.ndarray):
                parts.append(f"mask=<{value.shape[0]}×{value.shape[1]} logits>")
            elif isinstance(value, np.ndarray):
                text = np.array2string(value, separator=", ", threshold=20, formatter={"float_kind": "{:g}".format})
                parts.append(f"{name}={' '.join(text.split())}")
            else:
                parts.append(f"{name}={value!r}")
        return f"Prompt({', '.join(parts)})"

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of prompt this one combines."""
        return frozenset(kind for kind in KINDS if getattr(self, kind) is not None)

    @classmethod
    def from_mask(
        cls, mask: Masks | ArrayLike, points: ArrayLike | None = None, point_labels: ArrayLike | None = None
    ) -> Prompt:
        """A mask as a prompt, to be refined: the logits of a `Masks` item if it has them, else its pixels.

        Args:
            mask: one `Masks` item, whose label and id the prompt takes over; or what `mask=` takes.
            points: K×2 clicks that correct it, (x, y) in pixels.
            point_labels: K, 1 for object and 0 for background; all 1 if not given.

        Raises:
            PromptError: not exactly one mask, or malformed points or labels.
        """
        if not isinstance(mask, Masks):
            return cls(points=points, point_labels=point_labels, mask=mask)
        rough = to_mask(mask)
        if mask.logits is not None and _may_be_logits(mask.logits[0]):
            rough = mask.logits[0]
        return cls(points=points, point_labels=point_labels, mask=rough, label=mask.labels[0], id=mask.ids[0])


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """`array` read-only; a copy of it if someone could still write to it."""
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array


def to_numbers(value: ArrayLike, expected: str, advice: str) -> NDArray[np.float32]:
    """A float32 array that only the caller of this can write to, if anyone.

    Strings and truth values are not numbers, though NumPy would convert them.
    """
    try:
        array = np.asarray(value)
        if array.dtype == np.float32 and not array.flags.writeable:
            return array
        if array.dtype.kind in "iufO":
            with np.errstate(over="ignore"):  # what overflows float32 is infinite, and refused as that
                return np.array(array, dtype=np.float32)
        reason: Exception | None = None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:  # RuntimeError: a tensor that wants detaching
        reason = error
    raise PromptError(f"{expected}; got {_short(value)}; {advice}") from reason


def to_points(value: ArrayLike) -> NDArray[np.float32]:
    """At least one point as N×2 float32; a single (x, y) is one point."""
    array = to_numbers(value, "points must be N×2 numbers (x, y) in pixels", "pass e.g. [[120, 80]]")
    if array.shape == (2,):
        array = array[None]
    if array.ndim != 2 or array.shape[1] != 2 or len(array) == 0:
        raise PromptError(
            f"points must be N×2 (x, y) in pixels with N ≥ 1; got shape {array.shape}; pass e.g. [[120, 80]]"
        )
    check_points(array)
    return frozen(array)


def check_points(array: NDArray[np.float32]) -> None:
    """Raise for the first of N×2 points that is not finite."""
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = array[int(bad.argmax())]
        raise PromptError(f"points must be finite numbers; got {row.tolist()}; drop the NaN, infinite or huge ones")


def to_point_labels(value: ArrayLike | None, count: int) -> NDArray[np.int8]:
    """One label a point, as N int8; all foreground if None."""
    if value is None:
        return frozen(np.ones(count, np.int8))
    try:
        given = np.atleast_1d(np.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise PromptError(
            f"point_labels must be 1 or 0 for each point; got {_short(value)}; pass e.g. [1, 0]"
        ) from error
    if given.shape != (count,):
        raise PromptError(f"point_labels must be one per point ({count}); got shape {given.shape}; use 1 or 0 for each")
    if given.dtype.kind not in "biuf" or not ((given == 0) | (given == 1)).all():
        raise PromptError(
            f"point_labels must be 1 (foreground) or 0 (background); got {_short(given.tolist())}; use 1 or 0 for each"
        )
    return frozen(given.astype(np.int8))


def to_box(value: ArrayLike) -> NDArray[np.float32]:
    """One box as 4 float32, x1 y1 x2 y2."""
    array = to_numbers(value, "box must be 4 numbers x1 y1 x2 y2 in pixels", "pass e.g. [12, 30, 410, 380]")
    if array.shape != (4,):
        raise PromptError(
            f"box must be 4 numbers x1 y1 x2 y2 in pixels; got shape {array.shape}; pass e.g. [12, 30, 410, 380]"
        )
    check_boxes(array[None])
    return frozen(array)


def to_boxes(value: ArrayLike) -> NDArray[np.float32]:
    """Boxes as N×4 float32; an empty sequence is no box."""
    array = to_numbers(value, "boxes must be N×4 numbers x1 y1 x2 y2 in pixels", "pass e.g. [[12, 30, 410, 380]]")
    if array.shape == (0,):
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise PromptError(f"boxes must be N×4 (x1 y1 x2 y2) in pixels; got shape {array.shape}; reshape it to N×4")
    check_boxes(array)
    return array


def check_boxes(array: NDArray[np.float32], *, absent: bool = False) -> None:
    """Raise for the first of N×4 boxes that is not finite or has no area; rows of NaN alone pass if `absent`."""
    given = ~np.isnan(array).all(axis=1) if absent else np.ones(len(array), bool)
    if not given.any():
        return
    bad = given & ~np.isfinite(array).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        got = f"got {array[row].tolist()}{_where(row, array)}"
        raise PromptError(f"box must be finite numbers; {got}; drop the NaN, infinite or huge ones")
    bad = given & ((array[:, 2] <= array[:, 0]) | (array[:, 3] <= array[:, 1]))
    if bad.any():
        row = int(bad.argmax())
        got = f"got {array[row].tolist()}{_where(row, array)}"
        raise PromptError(f"box must have x1 < x2 and y1 < y2; {got}; order it as x1 y1 x2 y2")


def to_mask(value: Any) -> Masks | NDArray[np.float32]:
    """One mask: a `Masks` of one from an H×W array of bools, integers or two-valued floats, else float32 logits."""
    if isinstance(value, Masks):
        if len(value) != 1:
            raise PromptError(f"a mask prompt is one mask; got {len(value)}; index it, e.g. masks[0]")
        return value
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise PromptError(f"mask must be H×W; got {_short(value)}; pass an array or one item of Masks") from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.size == 0:
        raise PromptError(f"mask must be H×W; got shape {array.shape}; pass one mask of at least 1×1")
    if array.dtype.kind == "f":
        return _of_floats(array)
    if array.dtype.kind not in "bui":
        raise PromptError(
            f"mask must be H×W bool, integer or float32 logits; got dtype {array.dtype}; convert it with astype(bool)"
        )
    return Masks.from_array((array != 0)[None])


def _of_floats(array: NDArray[np.floating[Any]]) -> Masks | NDArray[np.float32]:
    """A mask that somebody's arithmetic made floats of is still a mask, and probabilities are not logits.

    Taken for logits, either would be one object over the whole image, since logits begin at 0 to be inside.
    """
    with np.errstate(over="ignore"):  # what overflows float32 is told below, as infinite
        floats = array.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise PromptError("mask logits must be finite numbers; got NaN or infinity; clip them, e.g. to ±32")
    low, high = float(floats.min()), float(floats.max())
    if low >= 0 and high in (0, 1, 255) and ((floats == 0) | (floats == high)).all():
        return Masks.from_array((floats != 0)[None])
    if not _may_be_logits(floats):
        raise PromptError(
            "a float mask must be 0 and 1, or logits, which are negative outside of the object; "
            f"got values from {low:g} to {high:g}; threshold it, e.g. mask > {(low + high) / 2:g}"
        )
    held = floats.copy()
    held.setflags(write=False)
    return held


def _may_be_logits(floats: NDArray[np.float32]) -> bool:
    """Whether some are negative. Where an object is all of the image none are: believed of what `Masks` and `Prompt`
    hold, which nobody can write to, unless they could be probabilities.
    """
    return bool(floats.min() < 0) or (not floats.flags.writeable and bool(floats.max() > 1))


def check_text(value: Any) -> None:
    """Raise for what are neither words nor None."""
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise PromptError(f"text must be words; got {_short(value)}; pass e.g. 'a red car'")


def check_exemplar(value: Any) -> None:
    """Raise for what is neither an exemplar nor None."""
    if value is not None and not isinstance(value, Exemplar):
        got = type(value).__name__
        raise PromptError(f"exemplar must show an object; got {got}; pass samovar.Exemplar(image, mask)")


def check_label(value: Any) -> None:
    """Raise for what is neither a string nor None."""
    if value is not None and not isinstance(value, str):
        raise PromptError(f"label must be a string; got {_short(value)}; pass str(…)")


def to_id(value: Any) -> ObjectId:
    """An id; NumPy integers become plain ones."""
    if isinstance(value, np.integer):
        return int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, str))):
        raise PromptError(f"id must be an integer or a string; got {_short(value)}; pass str(…)")
    return value


def _where(row: int, array: NDArray[Any]) -> str:
    return f" (prompt {row})" if len(array) > 1 else ""


def _short(value: object) -> str:
    return " ".join(f"{value!r:.80}".split())
