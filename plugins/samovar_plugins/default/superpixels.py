"""Superpixels: small regions of even colour, and what is known of each.

They are grown by the graph-based segmentation of Felzenszwalb and Huttenlocher (IJCV 2004): neighbouring pixels are
joined in order of colour difference as long as the difference is no larger than what either side already contains
inside, plus a tolerance that shrinks with size. The order comes from a counting sort of differences rounded to 1/64 of
a grey level, which is linear and the same on every machine.

All that is counted of them is additive, so a merged region's statistics are sums of its superpixels': histograms of L,
a, b and of textons (nearest of a palette fitted to this very image in colour and texture), first and second moments of
colour, positions, bounding boxes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .channels import Channels

__all__ = ["BINS", "GROUPS", "TEXTONS", "Superpixels", "describe_superpixels", "grow_regions"]

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


TEXTONS = 48
GROUPS = (0, 12, 36, 60, 60 + TEXTONS)
"""Where each group of histogram bins begins: 12 of L, 24 of a, 24 of b, TEXTONS words."""
BINS = GROUPS[-1]
_TEXTON_DIMENSIONS = 9
_ROUNDS = 6


class Superpixels(NamedTuple):
    """Statistics of n superpixels.

    Attributes:
        area: n float32, pixels.
        box: n×4 float32, x1 y1 x2 y2 (exclusive).
        centre: n×2 float32, (x, y), pixel centres at +0.5.
        rim: n float32, pixels on the frame's edge.
        colour: n×4 float64, sums of L, a, b and of L²+a²+b².
        histogram: n×BINS float32, soft counts.
    """

    area: NDArray[np.float32]
    box: NDArray[np.float32]
    centre: NDArray[np.float32]
    rim: NDArray[np.float32]
    colour: NDArray[np.float64]
    histogram: NDArray[np.float32]


@njit
def _count(
    labels: NDArray[np.int32],
    n: int,
    lab: NDArray[np.float32],
    textons: NDArray[np.int32],
    histogram: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    rows, cols = labels.shape
    area = np.zeros(n, np.float32)
    box = np.zeros((n, 4), np.float32)
    centre = np.zeros((n, 2), np.float64)
    rim = np.zeros(n, np.float32)
    colour = np.zeros((n, 4), np.float64)
    for i in range(n):
        box[i, 0] = cols
        box[i, 1] = rows
    for y in range(rows):
        for x in range(cols):
            i = labels[y, x]
            area[i] += 1
            box[i, 0] = min(box[i, 0], x)
            box[i, 1] = min(box[i, 1], y)
            box[i, 2] = max(box[i, 2], x + 1)
            box[i, 3] = max(box[i, 3], y + 1)
            centre[i, 0] += x + 0.5
            centre[i, 1] += y + 0.5
            if x == 0 or y == 0 or x == cols - 1 or y == rows - 1:
                rim[i] += 1
            histogram[i, 60 + textons[y, x]] += 1
            for c in range(3):
                value = lab[y, x, c]
                colour[i, c] += value
                colour[i, 3] += value * value
                if c == 0:
                    place = value * np.float32(0.12) - np.float32(0.5)
                    last, offset = 11, 0
                else:
                    place = (value + np.float32(80)) * np.float32(0.15) - np.float32(0.5)
                    last, offset = 23, 12 + 24 * (c - 1)
                place = min(max(place, np.float32(0)), np.float32(last))
                low = min(int(place), last - 1)
                part = place - np.float32(low)
                histogram[i, offset + low] += np.float32(1) - part
                histogram[i, offset + low + 1] += part
    middle = np.empty((n, 2), np.float32)
    for i in range(n):
        middle[i, 0] = centre[i, 0] / area[i]
        middle[i, 1] = centre[i, 1] / area[i]
    return area, box, middle, rim, colour


@njit(fastmath=True)
def _mean_descriptors(labels: NDArray[np.int32], n: int, planes: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, cols, depth = planes.shape
    total = np.zeros((n, depth), np.float64)
    area = np.zeros(n, np.float64)
    for y in range(rows):
        for x in range(cols):
            i = labels[y, x]
            area[i] += 1
            for d in range(depth):
                total[i, d] += planes[y, x, d]
    mean = np.empty((n, depth), np.float32)
    for i in range(n):
        for d in range(depth):
            mean[i, d] = total[i, d] / area[i]
    return mean


@njit(fastmath=True)
def _nearest(row: NDArray[np.float32], palette: NDArray[np.float32], distance: NDArray[np.float32]) -> int:
    depth, textons = palette.shape
    for k in range(textons):
        distance[k] = 0
    for d in range(depth):
        value = row[d]
        for k in range(textons):
            gap = value - palette[d, k]
            distance[k] += gap * gap
    best = 0
    for k in range(1, textons):
        if distance[k] < distance[best]:
            best = k
    return best


@njit(fastmath=True)
def _palette(
    points: NDArray[np.float32], weight: NDArray[np.float32], textons: int, rounds: int
) -> NDArray[np.float32]:
    """Weighted k-means of rows, begun from far-apart rows (farthest-first, weighted). Returns depth×words."""
    n, depth = points.shape
    palette = np.zeros((depth, textons), np.float32)
    gap = np.full(n, 1e30)
    chosen = 0
    for i in range(n):
        if weight[i] > weight[chosen]:
            chosen = i
    for k in range(textons):
        for d in range(depth):
            palette[d, k] = points[chosen, d]
        best = -1.0
        following = chosen
        for i in range(n):
            total = 0.0
            for d in range(depth):
                step = points[i, d] - palette[d, k]
                total += step * step
            gap[i] = min(gap[i], total)
            value = gap[i] * np.sqrt(weight[i])
            if value > best:
                best = value
                following = i
        chosen = following
    distance = np.empty(textons, np.float32)
    for _ in range(rounds):
        total_at = np.zeros((depth, textons))
        mass = np.zeros(textons)
        for i in range(n):
            k = _nearest(points[i], palette, distance)
            mass[k] += weight[i]
            for d in range(depth):
                total_at[d, k] += weight[i] * points[i, d]
        for k in range(textons):
            if mass[k] > 0:
                for d in range(depth):
                    palette[d, k] = total_at[d, k] / mass[k]
    return palette


@njit(fastmath=True)
def _assign(planes: NDArray[np.float32], palette: NDArray[np.float32]) -> NDArray[np.int32]:
    rows, cols = planes.shape[0], planes.shape[1]
    textons = np.empty((rows, cols), np.int32)
    distance = np.empty(palette.shape[1], np.float32)
    for y in range(rows):
        for x in range(cols):
            textons[y, x] = _nearest(planes[y, x], palette, distance)
    return textons


def describe_superpixels(labels: NDArray[np.int32], n: int, channels: Channels) -> Superpixels:
    """Statistics of the n superpixels of H×W `labels`."""
    import cv2

    colour = cv2.GaussianBlur(channels.lab, (0, 0), 1.0) * np.array([0.6, 1, 1], np.float32)
    planes = np.concatenate([colour, channels.texture * np.float32(3)], axis=2)
    means = _mean_descriptors(labels, n, planes)
    weight = np.bincount(labels.ravel(), minlength=n).astype(np.float32)
    textons = _assign(planes, _palette(means, weight, TEXTONS, _ROUNDS))
    histogram = np.zeros((n, BINS), np.float32)
    return Superpixels(*_count(labels, n, channels.lab, textons, histogram), histogram)
