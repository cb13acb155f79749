"""What is known of every leaf (region) and of every border between two: counted once, summed ever after.

Everything here is additive, so a merged region's statistics are sums of its leaves': histograms of L, a, b and of
"words" (nearest of a palette fitted to this very image in colour and texture), first and second moments of colour,
positions, bounding boxes, and along each border its length and summed edge strengths.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samovar.jit import njit

from .channels import GRADIENTS, Channels

__all__ = ["BINS", "GROUPS", "WORDS", "Borders", "Leaves", "count_leaves", "find_borders"]

WORDS = 48
GROUPS = (0, 12, 36, 60, 60 + WORDS)
"""Where each group of histogram bins begins: 12 of L, 24 of a, 24 of b, WORDS words."""
BINS = GROUPS[-1]
_WORD_DIMENSIONS = 9
_ROUNDS = 6


@dataclass(frozen=True)
class Leaves:
    """Statistics of n leaves.

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


@dataclass(frozen=True)
class Borders:
    """The e borders between neighbouring leaves (4-neighbours).

    Attributes:
        first, second: e int32, leaf indices.
        length: e float32, pixel sides.
        strength: e×GRADIENTS float32, summed edge strength along the border.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    length: NDArray[np.float32]
    strength: NDArray[np.float32]


@njit
def _count(
    labels: NDArray[np.int32],
    n: int,
    lab: NDArray[np.float32],
    words: NDArray[np.int32],
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
            histogram[i, 60 + words[y, x]] += 1
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
    depth, words = palette.shape
    for k in range(words):
        distance[k] = 0
    for d in range(depth):
        value = row[d]
        for k in range(words):
            gap = value - palette[d, k]
            distance[k] += gap * gap
    best = 0
    for k in range(1, words):
        if distance[k] < distance[best]:
            best = k
    return best


@njit(fastmath=True)
def _palette(points: NDArray[np.float32], weight: NDArray[np.float32], words: int, rounds: int) -> NDArray[np.float32]:
    """Weighted k-means of rows, begun from far-apart rows (farthest-first, weighted). Returns depth×words."""
    n, depth = points.shape
    palette = np.zeros((depth, words), np.float32)
    gap = np.full(n, 1e30)
    chosen = 0
    for i in range(n):
        if weight[i] > weight[chosen]:
            chosen = i
    for k in range(words):
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
    distance = np.empty(words, np.float32)
    for _ in range(rounds):
        total_at = np.zeros((depth, words))
        mass = np.zeros(words)
        for i in range(n):
            k = _nearest(points[i], palette, distance)
            mass[k] += weight[i]
            for d in range(depth):
                total_at[d, k] += weight[i] * points[i, d]
        for k in range(words):
            if mass[k] > 0:
                for d in range(depth):
                    palette[d, k] = total_at[d, k] / mass[k]
    return palette


@njit(fastmath=True)
def _assign(planes: NDArray[np.float32], palette: NDArray[np.float32]) -> NDArray[np.int32]:
    rows, cols = planes.shape[0], planes.shape[1]
    words = np.empty((rows, cols), np.int32)
    distance = np.empty(palette.shape[1], np.float32)
    for y in range(rows):
        for x in range(cols):
            words[y, x] = _nearest(planes[y, x], palette, distance)
    return words


@njit
def _borders(
    labels: NDArray[np.int32], n: int, edges: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    rows, cols = labels.shape
    depth = edges.shape[2]
    capacity = 1
    for y in range(rows):
        for x in range(cols):
            if x + 1 < cols and labels[y, x] != labels[y, x + 1]:
                capacity += 1
            if y + 1 < rows and labels[y, x] != labels[y + 1, x]:
                capacity += 1
    head = np.full(n, -1, np.int32)
    following = np.empty(capacity, np.int32)
    first = np.empty(capacity, np.int32)
    second = np.empty(capacity, np.int32)
    length = np.zeros(capacity, np.float32)
    strength = np.zeros((capacity, depth), np.float32)
    found = 0
    for y in range(rows):
        for x in range(cols):
            for k in range(2):
                ny, nx = (y, x + 1) if k == 0 else (y + 1, x)
                if ny >= rows or nx >= cols:
                    continue
                a, b = labels[y, x], labels[ny, nx]
                if a == b:
                    continue
                if a > b:
                    a, b = b, a
                e = head[a]
                while e >= 0 and second[e] != b:
                    e = following[e]
                if e < 0:
                    e = found
                    found += 1
                    first[e] = a
                    second[e] = b
                    following[e] = head[a]
                    head[a] = e
                length[e] += 1
                for d in range(depth):
                    strength[e, d] += max(edges[y, x, d], edges[ny, nx, d])
    return first[:found].copy(), second[:found].copy(), length[:found].copy(), strength[:found].copy()


def count_leaves(labels: NDArray[np.int32], n: int, channels: Channels) -> Leaves:
    """Statistics of the n leaves of H×W `labels`."""
    import cv2

    colour = cv2.GaussianBlur(channels.lab, (0, 0), 1.0) * np.array([0.6, 1, 1], np.float32)
    planes = np.concatenate([colour, channels.texture * np.float32(3)], axis=2)
    means = _mean_descriptors(labels, n, planes)
    weight = np.bincount(labels.ravel(), minlength=n).astype(np.float32)
    words = _assign(planes, _palette(means, weight, WORDS, _ROUNDS))
    histogram = np.zeros((n, BINS), np.float32)
    return Leaves(*_count(labels, n, channels.lab, words, histogram), histogram)


def find_borders(labels: NDArray[np.int32], n: int, edges: NDArray[np.float32]) -> Borders:
    """The borders between the n leaves of H×W `labels`; `edges` is H×W×GRADIENTS edge strength."""
    if edges.shape[2] != GRADIENTS:
        raise ValueError(f"expected {GRADIENTS} planes of edge strength; got {edges.shape[2]}")
    return Borders(*_borders(labels, n, edges))
