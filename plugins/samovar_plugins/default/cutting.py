"""A mask cut from a field: the run lengths of where it exceeds a threshold, without drawing a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .fields import Field
from .scene import Scene

__all__ = ["cut_mask"]


@njit
def _places(
    start: int, stop: int, zoom: float, corner: int, size: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Where the image pixels from `start` to `stop` lie between the working pixels of a window, along one axis.

    Returns:
        How far each is from one working pixel to the next, 0…1; and size+1 numbers: those from first[k] to
        first[k + 1], counted from `start`, lie after working pixel k.
    """
    part = np.empty(stop - start, np.float32)
    first = np.zeros(size + 1, np.int64)
    for i in range(stop - start):
        at = (start + i + 0.5) * zoom - 0.5 - corner
        at = min(max(at, 0.0), size - 1.0)
        base = min(int(at), max(size - 2, 0))
        part[i] = at - base
        first[base + 1] = i + 1
    for k in range(size):
        first[k + 1] = max(first[k + 1], first[k])
    return part, first


@njit
def _cut(
    columns: NDArray[np.float32],
    left: int,
    top: int,
    zoom_x: float,
    zoom_y: float,
    threshold: float,
    x1: int,
    y1: int,
    x2: int,
    y2: int,
    width: int,
    height: int,
) -> NDArray[np.uint32]:
    """The column-major run lengths of the image's pixels inside a window at which the field exceeds the threshold.

    Between four working pixels on one side of the threshold everything is on that side: only where an outline passes
    is the field read pixel by pixel.
    """
    cols, rows = columns.shape
    across, first_x = _places(x1, x2, zoom_x, left, cols)
    down, first_y = _places(y1, y2, zoom_y, top, rows)
    cells, step = max(rows - 1, 1), min(rows - 1, 1)
    side = np.empty(rows, np.int8)  # of a working row, at both columns: 0 below, 1 above, 2 one of each
    end = np.empty(cells, np.int64)  # stretches of image rows: where they end, their side, and, if 2, which row's cell
    kind = np.empty(cells, np.int8)
    cell = np.empty(cells, np.int64)
    whole = y1 == 0 and y2 == height
    changes = np.empty(4 * (x2 - x1) + 64, np.int64)
    found, inside = 0, False
    for c in range(max(cols - 1, 1)):
        if first_x[c] == first_x[c + 1]:
            continue
        here, there = columns[c], columns[min(c + 1, cols - 1)]
        for r in range(rows):
            one, other = here[r] > threshold, there[r] > threshold
            side[r] = 2 if one != other else 1 if one else 0
        stretches, r = 0, 0
        while r < cells:
            same = side[r] if side[r] == side[r + step] else np.int8(2)
            cell[stretches], kind[stretches] = r, same
            r += 1
            while same != 2 and r < cells and side[r + step] == same:
                r += 1
            end[stretches] = first_y[r]
            stretches += 1
        for x in range(first_x[c], first_x[c + 1]):
            if found + y2 - y1 + 2 > len(changes):
                longer = np.empty(2 * len(changes) + y2 - y1 + 2, np.int64)
                longer[:found] = changes[:found]
                changes = longer
            share, begin, y = across[x], (x1 + x) * height + y1, 0
            for s in range(stretches):
                if kind[s] != 2:
                    if y < end[s] and inside != (kind[s] == 1):
                        changes[found] = begin + y
                        found += 1
                        inside = not inside
                    y = end[s]
                    continue
                r = cell[s]
                upper = here[r] + (there[r] - here[r]) * share
                lower = here[r + step] + (there[r + step] - here[r + step]) * share
                while y < end[s]:
                    if (upper + (lower - upper) * down[y] > threshold) != inside:
                        changes[found] = begin + y
                        found += 1
                        inside = not inside
                    y += 1
            if inside and not whole:
                changes[found] = begin + y2 - y1
                found += 1
                inside = False
    if inside:
        changes[found] = x2 * height
        found += 1
    if found and changes[found - 1] == width * height:
        found -= 1
    counts = np.empty(found + 1, np.uint32)
    last = 0
    for k in range(found):
        counts[k] = changes[k] - last
        last = changes[k]
    counts[found] = width * height - last
    return counts


def cut_mask(
    scene: Scene, field: Field, threshold: float, clip: tuple[int, int, int, int] | None
) -> NDArray[np.uint32]:
    """The mask where the field exceeds `threshold`: column-major run lengths over the image, background first.

    `clip` is a window x1 y1 x2 y2 of the image outside which the mask is empty.
    """
    frame = scene.frame
    h, w = field.values.shape
    x1, y1 = int(field.left / frame.zoom_x), int(field.top / frame.zoom_y)
    x2 = min(int(np.ceil((field.left + w) / frame.zoom_x)), frame.width)
    y2 = min(int(np.ceil((field.top + h) / frame.zoom_y)), frame.height)
    if clip is not None:
        x1, y1, x2, y2 = max(x1, clip[0]), max(y1, clip[1]), min(x2, clip[2]), min(y2, clip[3])
    if x2 <= x1 or y2 <= y1:
        return np.array([frame.width * frame.height], np.uint32)
    window = x1, y1, x2, y2
    columns = np.ascontiguousarray(field.values.T)
    place = field.left, field.top, frame.zoom_x, frame.zoom_y
    return _cut(columns, *place, threshold, *window, frame.width, frame.height)
