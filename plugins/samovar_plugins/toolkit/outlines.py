"""COCO runs straight from low-resolution logits, without ever interpolating them to the image.

A pixel of the mask is a weighted sum of K×K logits (see `Interpolation`). All pixels whose sums take the same K×K
logits form a cell. Where these logits agree, so do all pixels of the cell; only cells that a boundary may cross are
evaluated, pixel by pixel. So the work grows with the length of the boundary and not with the area of the image.

A process that is asked for one mask at a time never loads the compiled kernel for it, which takes longer than
answering a click does: `_outline_one` forms the same sums in the same order by NumPy alone, for all pixels of mixed
cells at once, and gives the same runs to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit
from samovar_plugins.toolkit.resize import Axis, Interpolation

__all__ = ["Outlines", "outline", "stability"]

FEW = 3
"""Masks, the answers to one prompt, that are not worth loading a compiled kernel for."""

PIXELS = 1 << 11
"""Of a mask, that NumPy outlines while Python takes a step."""

ONE_IMAGE, ONE_MIXED = 1 << 25, 1 << 20
"""Pixels of an image, and of its mixed cells, at most, that NumPy outlines, in bytes for each of the former and tens of
bytes for each of the latter."""

OFF, MIXED, ON = np.int8(0), np.int8(1), np.int8(2)


@dataclass(frozen=True, eq=False)
class Outlines:
    """N masks of one size as run lengths.

    Attributes:
        counts: uint32, the runs of all masks one after another: column by column, off first.
        offsets: N+1 int64; mask i owns counts[offsets[i]:offsets[i + 1]].
    """

    counts: NDArray[np.uint32]
    offsets: NDArray[np.int64]

    @property
    def areas(self) -> NDArray[np.int64]:
        """N int64, pixels of each mask."""
        on = self.counts.astype(np.int64)
        on[_even(self.offsets, len(on))] = 0
        return np.diff(np.concatenate([[0], np.cumsum(on)])[self.offsets])


def _even(offsets: NDArray[np.int64], total: int) -> NDArray[np.bool_]:
    """Which runs are off: those at even places of their mask."""
    place = np.arange(total) - np.repeat(offsets[:-1], np.diff(offsets))
    return np.asarray(place % 2 == 0)


def outline(logits: NDArray[np.float32], interpolation: Interpolation, threshold: float = 0.0) -> Outlines:
    """The masks that N×h×w logits are above `threshold`, once enlarged."""
    rows, columns = interpolation.rows, interpolation.columns
    excess = np.float32((1 + 2 * rows.excess) * (1 + 2 * columns.excess) / 2 - 0.5)
    pixels = len(logits) * len(rows.starts) * len(columns.starts)
    if 1 <= len(logits) <= FEW and _outline.spared(pixels // PIXELS):
        found = [_outline_one(one, interpolation, threshold, excess) for one in logits]
        few = [runs for runs in found if runs is not None]
        if len(few) == len(found):
            return Outlines(np.concatenate(few), np.cumsum([0, *map(len, few)]))
    counts, offsets = _outline(
        np.ascontiguousarray(logits.transpose(0, 2, 1), np.float32),
        np.float32(threshold),
        rows.weights,
        rows.starts,
        rows.first,
        columns.weights,
        columns.first,
        excess,
    )
    return Outlines(counts, offsets)


def stability(
    logits: NDArray[np.float32], interpolation: Interpolation, offset: float, threshold: float = 0.0
) -> NDArray[np.float32]:
    """N float32: IoU of each mask thresholded `offset` higher with the one `offset` lower, 0 where both are empty."""
    inner = outline(logits, interpolation, threshold + offset).areas
    outer = outline(logits, interpolation, threshold - offset).areas
    return np.asarray(inner / np.maximum(outer, 1), np.float32)


@njit
def _classes(
    logits: NDArray[np.float32],
    threshold: np.float32,
    across: int,
    down: int,
    excess: np.float32,
    out: NDArray[np.int8],
) -> None:
    """Fill out[x, y] with what is known of the cell whose logits start at column x, row y (logits are w×h)."""
    # Loops over slices, which the compiler knows to be in bounds, so that it makes vectors of them.
    width, height = logits.shape
    tall = height - down + 1
    low = np.empty((width, tall), np.float32)
    high = np.empty((width, tall), np.float32)
    for x in range(width):
        low[x] = logits[x, :tall]
        high[x] = logits[x, :tall]
        for k in range(1, down):
            _widen(low[x], high[x], logits[x, k : k + tall], logits[x, k : k + tall])
    relative = np.float32(1e-5) if threshold != 0 else np.float32(0)
    for x in range(width - across + 1):
        # In place: the columns of cells after this one need only logits after this one.
        for k in range(1, across):
            _widen(low[x], high[x], low[x + k], high[x + k])
        kinds, least, most = out[x, :tall], low[x], high[x]
        for y in range(len(kinds)):
            # Weights that reach below zero can overshoot by `excess` of the spread; rounding, by far less than `slack`.
            slack = excess * (most[y] - least[y]) + relative * (max(most[y], -least[y]) + abs(threshold))
            kinds[y] = ON if least[y] - slack > threshold else OFF if most[y] + slack <= threshold else MIXED


@njit
def _widen(
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    other_low: NDArray[np.float32],
    other_high: NDArray[np.float32],
) -> None:
    for y in range(len(low)):
        low[y] = min(low[y], other_low[y])
        high[y] = max(high[y], other_high[y])


@njit
def _enlarge(
    logits: NDArray[np.float32],
    weights: NDArray[np.float32],
    starts: NDArray[np.int32],
    begin: int,
    end: int,
    out: NDArray[np.float32],
) -> None:
    """Fill out[begin:end] with pixel rows of one column of logits."""
    rows, first = out[begin:end], starts[begin:end]
    rows[:] = 0
    for k in range(weights.shape[0]):
        share = weights[k, begin:end]
        for row in range(len(rows)):
            rows[row] += share[row] * logits[first[row] + k]


@njit
def _add(rows: NDArray[np.float32], weight: np.float32, out: NDArray[np.float32]) -> None:
    for row in range(len(out)):
        out[row] += weight * rows[row]


@njit
def _outline(
    logits: NDArray[np.float32],
    threshold: np.float32,
    row_weights: NDArray[np.float32],
    row_starts: NDArray[np.int32],
    row_first: NDArray[np.int32],
    column_weights: NDArray[np.float32],
    column_first: NDArray[np.int32],
    excess: np.float32,
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Runs of N masks from N×w×h logits; see `outline`."""
    count, width, height = logits.shape
    across = column_weights.shape[1]
    down = row_weights.shape[1]
    pixel_rows = len(row_starts)
    by_tap = row_weights.T.copy()
    classes = np.empty((width, height), np.int8)
    starts = np.empty(height, np.int32)
    kinds = np.empty(height, np.int8)
    # Columns of logits enlarged to pixel rows: which column each holds, and from which row to which.
    enlarged = np.empty((across, pixel_rows), np.float32)
    held = np.empty((across, 3), np.int64)
    pixels = np.empty(pixel_rows, np.float32)
    room = 4096 * count
    counts = np.empty(room, np.uint32)
    offsets = np.zeros(count + 1, np.int64)
    used = 0
    for n in range(count):
        _classes(logits[n], threshold, across, down, excess, classes)
        held[:, 0] = -1
        run = 0
        on = False
        for x in range(width - across + 1):
            if column_first[x] == column_first[x + 1]:
                continue
            # Stretches of rows of one kind in this column of cells.
            stretches = 0
            for y in range(height - down + 1):
                if row_first[y] == row_first[y + 1]:
                    continue
                if stretches == 0 or kinds[stretches - 1] != classes[x, y]:
                    starts[stretches] = y
                    kinds[stretches] = classes[x, y]
                    stretches += 1
            if stretches == 1 and kinds[0] != MIXED:
                if (kinds[0] == ON) != on:
                    if used + 4 >= room:
                        room *= 2
                        counts = _grown(counts, room)
                    counts[used] = run
                    used += 1
                    run = 0
                    on = not on
                run += (column_first[x + 1] - column_first[x]) * pixel_rows
                continue
            low = pixel_rows
            high = 0
            for stretch in range(stretches):
                if kinds[stretch] == MIXED:
                    end = starts[stretch + 1] if stretch + 1 < stretches else height - down + 1
                    low = min(low, row_first[starts[stretch]])
                    high = row_first[end]
            for k in range(across):
                slot = (x + k) % across
                if held[slot, 0] != x + k:
                    held[slot, 0] = x + k
                    held[slot, 1] = low
                    held[slot, 2] = high
                    _enlarge(logits[n, x + k], by_tap, row_starts, low, high, enlarged[slot])
                elif low < held[slot, 1] or high > held[slot, 2]:
                    held[slot, 1] = min(low, held[slot, 1])
                    held[slot, 2] = max(high, held[slot, 2])
                    _enlarge(logits[n, x + k], by_tap, row_starts, held[slot, 1], held[slot, 2], enlarged[slot])
            for column in range(column_first[x], column_first[x + 1]):
                if used + pixel_rows + 4 >= room:
                    room = 2 * room + pixel_rows
                    counts = _grown(counts, room)
                for stretch in range(stretches):
                    begin = row_first[starts[stretch]]
                    end = row_first[starts[stretch + 1]] if stretch + 1 < stretches else pixel_rows
                    if kinds[stretch] != MIXED:
                        if (kinds[stretch] == ON) != on:
                            counts[used] = run
                            used += 1
                            run = 0
                            on = not on
                        run += end - begin
                        continue
                    pixels[begin:end] = 0
                    for k in range(across):
                        _add(enlarged[(x + k) % across, begin:end], column_weights[column, k], pixels[begin:end])
                    since = -run
                    part = pixels[begin:end]
                    for row in range(len(part)):
                        if (part[row] > threshold) != on:
                            counts[used] = row - since
                            used += 1
                            since = row
                            on = not on
                    run = len(part) - since
        counts[used] = run
        used += 1
        offsets[n + 1] = used
    return counts[:used].copy(), offsets


@njit
def _grown(counts: NDArray[np.uint32], room: int) -> NDArray[np.uint32]:
    """The same counts with room for more."""
    larger = np.empty(room, np.uint32)
    larger[: len(counts)] = counts
    return larger


def _outline_one(
    logits: NDArray[np.float32], interpolation: Interpolation, threshold: float, excess: np.float32
) -> NDArray[np.uint32] | None:
    """The runs of the mask that h×w logits are above `threshold`, once enlarged; None where that is much work.

    Args:
        excess: by how much of the spread of a cell's logits its pixels may lie beyond them.
    """
    rows, columns = interpolation.rows, interpolation.columns
    tall, wide = np.diff(rows.first), np.diff(columns.first)
    if len(rows.starts) * len(columns.starts) > ONE_IMAGE:
        return None
    limit = np.float32(threshold)
    low, high = (_cells(logits, least, rows, columns) for least in (np.minimum, np.maximum))
    slack = excess * (high - low)
    if limit != 0:
        slack += np.float32(1e-5) * (np.maximum(high, -low) + abs(limit))
    on = low - slack > limit
    y, x = np.nonzero(~(on | (high + slack <= limit)))
    if int((tall[y] * wide[x]).sum()) > ONE_MIXED:
        return None
    mask = np.repeat(np.repeat(on.T, wide, axis=0), tall, axis=1)  # column by column, as runs go
    # First down, for every row of pixels in a mixed cell and the logits that its columns need; then across.
    cell, row = _spread(rows.first, y)
    x = x[cell]
    line = np.zeros((len(row), columns.weights.shape[1]), np.float32)
    for k in range(rows.weights.shape[1]):
        weights = rows.weights[row, k]
        for j in range(line.shape[1]):
            line[:, j] += weights * logits[rows.starts[row] + k, x + j]
    owner, column = _spread(columns.first, x)
    value = np.zeros(len(column), np.float32)
    for k in range(line.shape[1]):
        value += columns.weights[column, k] * line[owner, k]
    mask[column, row[owner]] = value > limit
    return _runs(mask.reshape(-1))


def _cells(logits: NDArray[np.float32], extreme: np.ufunc, rows: Axis, columns: Axis) -> NDArray[np.float32]:
    """The least or the greatest of the logits that each cell takes."""
    found: NDArray[np.float32] = logits
    for axis, taps in enumerate((rows.weights.shape[1], columns.weights.shape[1])):
        count = found.shape[axis] - taps + 1
        found = extreme.reduce([found.take(range(k, k + count), axis) for k in range(taps)])
    return found


def _spread(first: NDArray[np.int32], cells: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """For every pixel along one axis of each of the cells in turn: the cell's place in `cells`, and the pixel."""
    lengths = first[cells + 1] - first[cells]
    owner = np.repeat(np.arange(len(cells)), lengths)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return owner, first[cells][owner] + within


def _runs(flat: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The lengths of runs of equal values, the first of them False."""
    flips = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    ends = np.concatenate([[0] if flat[0] else [], flips, [flat.size]])
    return np.diff(ends, prepend=0).astype(np.uint32)
