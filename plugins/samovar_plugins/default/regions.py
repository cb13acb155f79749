"""Small regions of even colour: the graph-based segmentation of Felzenszwalb and Huttenlocher (IJCV 2004).

Neighbouring pixels are joined in order of colour difference as long as the difference is no larger than what either
side already contains inside, plus a tolerance that shrinks with size. The order comes from a counting sort of
differences rounded to 1/64 of a grey level, which is linear and the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

__all__ = ["grow_regions"]

_STEPS = 64.0
_LEVELS = 29_000  # 64 steps × 442 (the largest RGB distance), rounded up


@njit
def _find(parent: NDArray[np.int32], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit
def _grow(image: NDArray[np.float32], tolerance: float, min_size: int, most: int) -> tuple[NDArray[np.int32], int]:
    rows, cols = image.shape[0], image.shape[1]
    count = rows * cols
    # an edge is its first pixel and one of four directions: right, down-left, down, down-right
    jump = (1, cols - 1, cols, cols + 1)
    weight = np.full(4 * count, -1, np.int32)
    histogram = np.zeros(_LEVELS + 1, np.int32)
    for y in range(rows):
        for x in range(cols):
            r, g, b = image[y, x, 0], image[y, x, 1], image[y, x, 2]
            for k in range(4):
                ny = y if k == 0 else y + 1
                nx = x + 1 if k == 0 else x + k - 2
                if ny >= rows or nx >= cols or nx < 0:
                    continue
                d0, d1, d2 = r - image[ny, nx, 0], g - image[ny, nx, 1], b - image[ny, nx, 2]
                step = np.sqrt(d0 * d0 + d1 * d1 + d2 * d2) * np.float32(_STEPS)
                w = min(int(step), _LEVELS - 1)
                weight[4 * (y * cols + x) + k] = w
                histogram[w + 1] += 1
    for w in range(_LEVELS):
        histogram[w + 1] += histogram[w]
    edges = histogram[_LEVELS]
    order = np.empty(edges, np.int32)
    for code in range(4 * count):
        w = weight[code]
        if w >= 0:
            order[histogram[w]] = code
            histogram[w] += 1
    parent = np.arange(count).astype(np.int32)
    size = np.ones(count, np.int32)
    limit = np.full(count, np.float32(tolerance))
    waiting = 0
    left = count
    for k in range(edges):
        code = order[k]
        a = _find(parent, code >> 2)
        b = _find(parent, (code >> 2) + jump[code & 3])
        if a == b:
            continue
        w_real = np.float32(weight[code]) / np.float32(_STEPS)
        if w_real <= limit[a] and w_real <= limit[b]:
            if size[a] < size[b]:
                a, b = b, a
            parent[b] = a
            size[a] += size[b]
            limit[a] = w_real + np.float32(tolerance) / np.float32(size[a])
            left -= 1
        else:
            order[waiting] = code
            waiting += 1
    smallest = min_size
    while True:
        kept = 0
        for k in range(waiting):
            code = order[k]
            a = _find(parent, code >> 2)
            b = _find(parent, (code >> 2) + jump[code & 3])
            if a == b:
                continue
            if size[a] < smallest or size[b] < smallest:
                if size[a] < size[b]:
                    a, b = b, a
                parent[b] = a
                size[a] += size[b]
                left -= 1
            else:
                order[kept] = code
                kept += 1
        waiting = kept
        if left <= most:
            break
        smallest = smallest * 5 // 4 + 1
    name = np.full(count, -1, np.int32)
    labels = np.empty((rows, cols), np.int32)
    found = 0
    for y in range(rows):
        for x in range(cols):
            root = _find(parent, y * cols + x)
            if name[root] < 0:
                name[root] = found
                found += 1
            labels[y, x] = name[root]
    return labels, found


def grow_regions(
    image: NDArray[np.float32], tolerance: float, min_size: int, most: int
) -> tuple[NDArray[np.int32], int]:
    """Label the regions of `image`.

    Args:
        image: H×W×3 float32 in 0…255, already a little blurred.
        tolerance: the paper's k, in grey levels times pixels: larger gives larger regions.
        min_size: no region is smaller than this many pixels (unless the image is).
        most: the smallest size is raised until there are no more regions than this.

    Returns:
        H×W int32 labels from 0, numbered in reading order, and how many there are.
    """
    labels, found = _grow(image, float(tolerance), int(min_size), int(most))
    return labels, int(found)
