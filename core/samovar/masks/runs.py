"""`Runs`: the pixels of N masks of one image as column-major run lengths; and `Spans`, runs cut at the ends of columns.

Everything that changes masks goes through one builder, `from_toggles`: a mask is the set of column-major positions at
which the value changes, and changes that fall on the same position cancel. Where columns are looked at one by one,
runs become spans first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.jit import njit
from samovar.types import trusted

__all__ = [
    "Counts",
    "Index",
    "Runs",
    "Spans",
    "check_size",
    "checked",
    "components",
    "concat",
    "empty",
    "foreground",
    "from_spans",
    "from_toggles",
    "offsets_of",
    "portions",
    "read_only",
    "spans_of",
]

Index: TypeAlias = "slice | NDArray[np.int64]"
Counts: TypeAlias = NDArray[Any]  # uint32; to a type checker plain numbers, as kernels mix them with int64
_MOST_PIXELS = 2**31 - 1  # rows, columns and positions fit in 32 signed bits
_PORTION = 1 << 18  # spans handled at a time, so that working memory stays at tens of megabytes


@dataclass(frozen=True, eq=False)
class Runs:
    """N masks of one `width`×`height` image. Trusted: made by `checked`, `from_toggles` or a kernel, never by callers.

    Attributes:
        counts: uint32, every mask's run lengths one after another; column by column from the top left, background
            first. Canonical: only a mask's first run may be 0, and each mask's runs sum to width × height.
        offsets: N+1 int64; mask i owns counts[offsets[i]:offsets[i + 1]], at least one run.
        width, height: the image, in pixels.
    """

    counts: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    width: int
    height: int

    def __post_init__(self) -> None:
        # Views, so that kernels see one array type and the caller's own handle stays as it was.
        object.__setattr__(self, "counts", read_only(self.counts))
        object.__setattr__(self, "offsets", read_only(self.offsets))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def pixels(self) -> int:
        """Pixels of the image."""
        return self.width * self.height

    def of(self, index: int) -> NDArray[np.uint32]:
        """The run lengths of one mask, 0 ≤ index < N."""
        return self.counts[self.offsets[index] : self.offsets[index + 1]]

    def owners(self) -> NDArray[np.int64]:
        """For every run, the mask that it belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def index(self, key: Any) -> Index:
        """A subscript as `take` wants it: an integer, a slice, or a sequence or array of integers or of N bools.

        Raises IndexError where it points outside, and TypeError for anything else, as sequences do.
        """
        if isinstance(key, slice):
            return key
        if type(key) is int and 0 <= key < len(self):  # not bool
            return slice(key, key + 1)
        array = np.asarray(key)
        if array.size == 0 and array.ndim == 1 and array.dtype.kind != "b":
            array = array.astype(np.int64)
        if array.dtype.kind == "b" and array.shape == (len(self),):
            return np.flatnonzero(array)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise TypeError(f"masks are indexed by an integer, a slice, integers or {len(self)} bools; got {key!r:.60}")
        array = array.astype(np.int64)
        outside = (array < -len(self)) | (array >= len(self))
        if outside.any():
            raise IndexError(f"no mask {array[outside].flat[0]}; there are {len(self)}")
        array = np.where(array < 0, array + len(self), array)
        return slice(int(array), int(array) + 1) if array.ndim == 0 else array

    def __reduce__(self) -> tuple[Any, ...]:
        return Runs, (self.counts, self.offsets, self.width, self.height)  # so that a copy is read-only too

    def take(self, index: Index) -> Runs:
        """Masks by slice or by an array of indices in [0, N). A slice of step 1 shares the memory."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                bounds = self.offsets[start : max(start, stop) + 1]
                low, high = int(bounds[0]), int(bounds[-1])
                if low:
                    bounds = bounds - low
                    bounds.flags.writeable = False
                return trusted(Runs, (self.counts[low:high], bounds, self.width, self.height))
            index = np.arange(start, stop, step)
        lengths = np.diff(self.offsets)[index]
        offsets = offsets_of(lengths)
        source = np.repeat(self.offsets[index] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Runs(self.counts[source], offsets, self.width, self.height)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """A C-contiguous view (or copy) of `array` that cannot be written to."""
    if array.flags.c_contiguous:
        if not array.flags.writeable:
            return array
        array = array.view()
    else:
        array = np.array(array, order="C")
    array.flags.writeable = False
    return array


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """N lengths → N+1 offsets from 0."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def check_size(width: int, height: int) -> tuple[int, int]:
    """An image size as integers. Raises MaskError unless it is at least 1×1 and below 2³¹ pixels."""
    try:
        whole = int(width) == width and int(height) == height
    except (TypeError, ValueError, OverflowError):
        whole = False
    if not whole or width < 1 or height < 1:
        raise MaskError(f"masks need an image of at least 1×1 whole pixels; got {width!r}×{height!r}")
    if int(width) * int(height) > _MOST_PIXELS:
        raise MaskError(f"masks need an image below 2³¹ pixels; got {width}×{height}; split it into tiles")
    return int(width), int(height)


def empty(count: int, width: int, height: int) -> Runs:
    """`count` masks without a pixel."""
    return Runs(np.full(count, width * height, np.uint32), np.arange(count + 1, dtype=np.int64), width, height)


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise MaskError(f"{name} must be a flat array of integers; got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def checked(counts: ArrayLike, offsets: ArrayLike, width: int, height: int) -> Runs:
    """Run lengths from outside, checked and made canonical (runs of 0 inside a mask are merged away).

    Raises:
        MaskError: wrong types, offsets that do not cover the counts, a negative run, or a mask whose runs do not sum
            to width × height.
    """
    width, height = check_size(width, height)
    runs, starts = _integers("counts", counts), _integers("offsets", offsets)
    if len(starts) == 0 or starts[0] != 0 or starts[-1] != len(runs):
        raise MaskError(f"offsets must go from 0 to {len(runs)}, the number of counts; got {starts[:1]}…{starts[-1:]}")
    lengths = np.diff(starts)
    if (lengths < 1).any():
        index = int((lengths < 1).argmax())
        raise MaskError(f"mask {index} has no runs; an empty mask is one run of {width * height} background pixels")
    if len(lengths) == 0:
        return empty(0, width, height)
    if (runs < 0).any():
        raise MaskError(f"run lengths must be 0 or more; got {int(runs.min())}")
    sums = np.add.reduceat(runs, starts[:-1])
    if (sums != width * height).any():
        index = int((sums != width * height).argmax())
        raise MaskError(
            f"runs of mask {index} sum to {sums[index]} pixels; expected {width * height} ({width}×{height}); "
            "check that size is [height, width]"
        )
    inner = runs == 0
    inner[starts[:-1]] = False
    if not inner.any():
        return Runs(runs.astype(np.uint32), starts, width, height)
    owners = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    ends = np.cumsum(runs) - owners * (width * height)
    return from_toggles(owners, ends, len(lengths), width, height)


def from_toggles(owners: NDArray[np.int64], positions: NDArray[np.int64], count: int, width: int, height: int) -> Runs:
    """Masks from the places where their value changes.

    Args:
        owners: K, the mask each change belongs to, in [0, count).
        positions: K, column-major pixel positions in [0, width × height] at which the mask's value flips from there
            on. Any order. Two flips at one position cancel; a flip at width × height is past the end and dropped.
        count: number of masks.
        width, height: the image, in pixels.
    """
    total = width * height
    keys = owners * (total + 1) + positions
    if (keys[1:] < keys[:-1]).any():
        keys = np.sort(keys)
    distinct = np.flatnonzero(np.diff(keys, prepend=-1))
    if len(distinct) != len(keys):
        times = np.diff(distinct, append=len(keys))
        keys = keys[distinct[times & 1 == 1]]
    owners, positions = np.divmod(keys, total + 1)
    inside = positions < total
    if not inside.all():
        owners, positions = owners[inside], positions[inside]
    offsets = offsets_of(np.bincount(owners, minlength=count) + 1)
    ends = np.empty(len(positions) + count, np.int64)
    ends[np.arange(len(positions)) + owners] = positions
    ends[offsets[1:] - 1] = total
    runs = np.diff(ends, prepend=0)
    runs[offsets[:-1]] = ends[offsets[:-1]]
    return Runs(runs.astype(np.uint32), offsets, width, height)


def foreground(runs: Runs) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Foreground runs of all masks, in order: their mask, and where they start and end (exclusive), column-major."""
    owners = runs.owners()
    ends = np.cumsum(runs.counts, dtype=np.int64) - owners * runs.pixels
    inner = (np.arange(len(owners)) - runs.offsets[owners]) & 1 == 1
    ends, owners, lengths = ends[inner], owners[inner], runs.counts[inner]
    return owners, ends - lengths, ends


def concat(parts: list[Runs]) -> Runs:
    """All masks of at least one `Runs` of one size, in order."""
    if len(parts) == 1:
        return parts[0]
    counts = np.concatenate([part.counts for part in parts])
    starts = np.cumsum([0, *(len(part.counts) for part in parts)])
    offsets = np.concatenate([[0], *(part.offsets[1:] + start for part, start in zip(parts, starts.tolist()))])
    return Runs(counts, offsets, parts[0].width, parts[0].height)


@dataclass(frozen=True, eq=False)
class Spans:
    """S vertical strokes of foreground, sorted by mask, column and row. All int64.

    Attributes:
        owners: the mask of each.
        columns: its column.
        tops, bottoms: its rows, bottom exclusive.
    """

    owners: NDArray[np.int64]
    columns: NDArray[np.int64]
    tops: NDArray[np.int64]
    bottoms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.owners)

    def seams(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """G+1 offsets of the groups of spans that share a mask and a column, and for each of the G groups whether the
        group before it lies in the column right before it.
        """
        new = (np.diff(self.owners, prepend=-1) != 0) | (np.diff(self.columns, prepend=-1) != 0)
        starts = np.flatnonzero(new)
        same = np.diff(self.owners[starts], prepend=-1) == 0
        follows = same & (np.diff(self.columns[starts], prepend=-2) == 1)
        return read_only(np.append(starts, len(self))), read_only(follows)


def spans_of(runs: Runs) -> Spans:
    """The spans of all masks."""
    owners, starts, ends = foreground(runs)
    first, last = starts // runs.height, (ends - 1) // runs.height
    tops, bottoms = starts - first * runs.height, ends - last * runs.height
    further = last - first
    if not further.any():
        return Spans(*(read_only(array) for array in (owners, first, tops, bottoms)))
    source = np.repeat(np.arange(len(owners)), further + 1)
    step = np.arange(len(source)) - offsets_of(further + 1)[source]
    tops = np.where(step == 0, tops[source], 0)
    bottoms = np.where(step == further[source], bottoms[source], runs.height)
    return Spans(*(read_only(array) for array in (owners[source], first[source] + step, tops, bottoms)))


def from_spans(spans: Spans, count: int, width: int, height: int) -> Runs:
    """`count` masks of a `width`×`height` image from spans inside it that do not overlap; any order, empty ones too."""
    origins = spans.columns * height
    positions = np.stack([origins + spans.tops, origins + spans.bottoms], axis=1).reshape(-1)
    return from_toggles(np.repeat(spans.owners, 2), positions, count, width, height)


def portions(runs: Runs) -> Iterator[slice]:
    """Consecutive masks that together have a bounded number of spans (or a single mask that has more)."""
    # A mask has at most one span a run, and one more for every column that a run enters.
    most = offsets_of(np.diff(runs.offsets) + runs.width)
    start = 0
    while start < len(runs):
        stop = int(np.searchsorted(most, most[start] + _PORTION, side="right")) - 1
        stop = max(stop, start + 1)
        yield slice(start, stop)
        start = stop


@njit
def _join(
    seams: NDArray[np.int64],
    follows: NDArray[np.bool_],
    tops: NDArray[np.int64],
    bottoms: NDArray[np.int64],
    reach: int,
    parents: NDArray[np.int64],
) -> int:
    """Union-find over spans of neighbouring columns; `parents` becomes each span's component. Returns how many."""
    for g in range(1, len(follows)):
        if not follows[g]:
            continue
        a, b = seams[g - 1], seams[g]
        while a < seams[g] and b < seams[g + 1]:
            if tops[a] < bottoms[b] + reach and tops[b] < bottoms[a] + reach:
                low, high = a, b
                while parents[low] != low:
                    parents[low] = parents[parents[low]]
                    low = parents[low]
                while parents[high] != high:
                    parents[high] = parents[parents[high]]
                    high = parents[high]
                if low < high:
                    parents[high] = low
                else:
                    parents[low] = high
            if bottoms[a] <= bottoms[b]:
                a += 1
            else:
                b += 1
    count = 0
    for k in range(len(parents)):
        # A root comes before its spans, so what it was renamed to is known by the time they ask.
        if parents[k] == k:
            parents[k] = count
            count += 1
        else:
            parents[k] = parents[parents[k]]
    return count


def components(spans: Spans, diagonal: bool) -> tuple[NDArray[np.int64], int]:
    """Connected regions: for every span the region it is in, numbered by first span over all masks; and how many.

    Regions join along edges, and with `diagonal` (8-connectivity) also at corners.
    """
    labels = np.arange(len(spans), dtype=np.int64)
    if len(spans) == 0:
        return labels, 0
    seams, follows = spans.seams()
    count = _join(seams, follows, spans.tops, spans.bottoms, int(diagonal), labels)
    return labels, count
