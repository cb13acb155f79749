"""Inpainting without a model: patches of the surroundings, so that texture goes on, or OpenCV's interpolation.

Patches are found by space-time completion's coarse-to-fine search for one image (Wexler, Shechtman and Irani, 2007),
with PatchMatch (Barnes, Shechtman, Finkelstein and Goldman, 2009) to find the nearest ones, texture beside colours
(Newson et al., 2014), and a Poisson blend of what the patches say of steps from pixel to pixel (Darabi et al., 2012).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.inpainting import MaskedImage
from samovar_plugins.patches.patchmatch import RADIUS, measure, poisson_blend, search, vote

__all__ = [
    "ClassicalInpainter",
    "fill_with_patches",
    "inward_weights",
    "open_navier_stokes",
    "open_patches",
    "open_telea",
]

Fill: TypeAlias = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8]]

_SIDE = 2 * RADIUS + 1
_COARSEST = 24  # pixels of the shorter side below which the pyramid ends
_THINNEST = 2.5  # pixels: the deepest point of a hole that interpolation can fill well enough to start from
_ROUNDS = 12, 3  # of matching and voting, at the coarsest level and at the finest
_SWEEPS = 2  # of PatchMatch in a round
_INWARD = 1.3  # how much more a pixel counts than one a pixel deeper in the hole,
_DEEPEST = 100  # down to this depth: far below, a float32 would hold none of the weights, and no patch would vote
_TOLERANCE = 0.1  # of the usual difference of patches: how much worse than the best one still has a say
_LAST = 0.1  # of that, in the last vote of all: the best patches are copied rather than averaged
_TURNS = 60  # of the Poisson blend
_LARGE = 1 << 19  # pixels: larger levels only refine what the one below found, and have no texture to match
_REFINING, _NEAR = 1, 8  # rounds on large levels, and how many pixels around its place a patch is looked for

_TEXTURE = 50.0  # weight of a squared difference of texture beside one of colours
_RADIUS = 5  # pixels around each filled one that OpenCV interpolates it from

Level = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def fill_with_patches(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """`pixels` (H×W×3, uint8) with `hole` (H×W bool) filled from patches of the rest. The same input gives the same.

    Where there is no patch without a hole in it, interpolation alone fills. Time grows with the hole and memory with
    the image, both in proportion.
    """
    if not _sources(hole).any():
        return _by_opencv(cv2.INPAINT_TELEA, pixels, hole)
    levels = _pyramid(pixels, hole)
    textures = _textures(levels)
    (image, gap), texture = levels.pop(), textures.pop()
    filled, field = _match_and_vote(_first(image, gap, texture), gap, None, _ROUNDS[0], last=not levels)
    finer = len(levels)
    while levels:
        (image, gap), texture = levels.pop(), textures.pop()
        rounds = round(_ROUNDS[0] + (finer - len(levels)) / finer * (_ROUNDS[1] - _ROUNDS[0]))
        filled, field = _match_and_vote(_next(image, gap, texture, filled), gap, field, rounds, last=not levels)
    result = pixels.copy()
    result[hole] = np.clip(np.rint(filled[hole]), 0, 255)[:, :3]
    return result


def _pyramid(pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> list[Level]:
    """The image and its hole, halved until the hole is thin; what shows more of the hole than not belongs to it."""
    levels = [(pixels, hole)]
    while min(hole.shape) >= 2 * _COARSEST and _depth(hole).max() > _THINNEST:
        size = (hole.shape[1] + 1) // 2, (hole.shape[0] + 1) // 2
        share = cv2.resize((~hole).astype(np.float32), size, interpolation=cv2.INTER_AREA)
        seen = cv2.resize(np.where(hole[..., None], np.uint8(0), pixels), size, interpolation=cv2.INTER_AREA)
        pixels = np.rint(seen / np.maximum(share, 1e-6)[..., None]).clip(0, 255).astype(np.uint8)
        hole = share < 0.5
        if not _sources(hole).any():
            break
        levels.append((pixels, hole))
    return levels


def _textures(levels: list[Level]) -> list[NDArray[np.float32] | None]:
    """The texture of every level that is not large: that of the finest such level, shrunk with it."""
    found: list[NDArray[np.float32] | None] = []
    texture = None
    for image, gap in levels:
        if texture is not None:
            texture = cv2.resize(texture, gap.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
        elif gap.size <= _LARGE:
            # As wide as what the coarsest level sees in one pixel, so that its texture means something there.
            texture = _texture_of(image, gap, max(_SIDE, 2 * round(float(_depth(gap).max()) / _THINNEST) + 1))
        found.append(texture)
    return found


def _depth(hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far inside the hole a pixel lies; 0 outside."""
    if hole.all():
        return np.full(hole.shape, np.float32(max(hole.shape)))
    return np.asarray(cv2.distanceTransform(hole.astype(np.uint8), cv2.DIST_L2, 5), np.float32)


def inward_weights(hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much each pixel counts for its depth in the hole."""
    weight: NDArray[np.float32] = np.float32(_INWARD) ** -np.minimum(_depth(hole), _DEEPEST)
    return weight


def _touched(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Centres of the patches that touch the hole."""
    return _inside(np.asarray(cv2.dilate(hole.astype(np.uint8), np.ones((_SIDE, _SIDE), np.uint8)) > 0))


def _sources(hole: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Centres of the patches that touch no hole."""
    return _inside(~_touched(hole))


def _inside(centres: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the centres whose patches lie inside the image."""
    kept = np.zeros_like(centres)
    inner = slice(RADIUS, -RADIUS)
    kept[inner, inner] = centres[inner, inner]
    return kept


def _first(
    image: NDArray[np.uint8], gap: NDArray[np.bool_], texture: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """The coarsest level with its hole interpolated: H×W of three colours, and the texture if there is one."""
    colours = _by_opencv(cv2.INPAINT_TELEA, image, gap).astype(np.float32)
    return colours if texture is None else np.dstack([colours, _spread_texture(texture, gap, 2 * _SIDE - 1)])


def _next(
    image: NDArray[np.uint8],
    gap: NDArray[np.bool_],
    texture: NDArray[np.float32] | None,
    filled: NDArray[np.float32],
) -> NDArray[np.float32]:
    """A level with its hole as the coarser one was filled."""
    # Apart, as OpenCV resizes up to four channels.
    grown = cv2.resize(filled[..., :3], gap.shape[::-1], interpolation=cv2.INTER_LINEAR)
    start = np.where(gap[..., None], grown, image)
    if texture is None:
        return start
    grown = cv2.resize(filled[..., 3:], gap.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.dstack([start, np.where(gap[..., None], grown, texture)])


def _match_and_vote(
    image: NDArray[np.float32], hole: NDArray[np.bool_], field: NDArray[np.int32] | None, rounds: int, *, last: bool
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Fill the image in place by `rounds` of matching and voting; it, and where each patch came from."""
    allowed = _sources(hole)
    targets = np.argwhere(_touched(hole)).astype(np.int32)
    if field is None:
        places = np.argwhere(allowed).astype(np.int32)
        nearest = np.zeros((*hole.shape, 2), np.int32)
        random = np.random.default_rng(0)
        nearest[targets[:, 0], targets[:, 1]] = places[random.integers(0, len(places), len(targets))]
    else:
        nearest = _doubled(field, hole.shape)
    refines = field is not None and hole.size > _LARGE
    rounds, reach, turns = (_REFINING, _NEAR, _TURNS // 3) if refines else (rounds, max(hole.shape), _TURNS)
    inward = inward_weights(hole)[targets[:, 0], targets[:, 1]]
    cost = np.full(hole.shape, -1, np.float32)
    box = _box(hole)
    state, weights = 1, inward
    for turn in range(rounds):
        state = measure(image, allowed, targets, nearest, cost, state)
        for sweep in range(_SWEEPS):
            state = search(image, allowed, targets, nearest, cost, sweep, reach, state)
        found = cost[targets[:, 0], targets[:, 1]]
        tolerance = _TOLERANCE ** (turn / max(1, rounds - 1)) * float(np.percentile(found, 75)) + 1
        if last and turn == rounds - 1:
            tolerance *= _LAST
        weights = (np.exp(-found / (2 * tolerance)) * inward).astype(np.float32)
        vote(image, hole, targets, nearest, weights, *box)
    poisson_blend(image, hole, targets, nearest, weights, *box, turns)
    return image, nearest


def _box(hole: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of the hole and, inside the image, a pixel around it."""
    ys, xs = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
    bottom, right = min(hole.shape[0], int(ys[-1]) + 2), min(hole.shape[1], int(xs[-1]) + 2)
    return max(0, int(ys[0]) - 1), max(0, int(xs[0]) - 1), bottom, right


def _doubled(field: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """A field for the next finer level."""
    rows, columns = np.arange(shape[0]), np.arange(shape[1])
    finer = field[rows // 2][:, columns // 2]
    finer *= 2
    finer[..., 0] += (rows % 2)[:, None].astype(np.int32)
    finer[..., 1] += (columns % 2).astype(np.int32)
    return finer


def _texture_of(pixels: NDArray[np.uint8], hole: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """H×W×2 float32: the mean change from column to column and from row to row, over squares of `side` pixels.

    Scaled so that squared differences can be added to those of colours (H×W×3 uint8). The hole is left out. Without
    texture smooth patches, which resemble everything fairly well, win over those with the right one (Newson, Almansa,
    Fradet, Gousseau and Pérez, 2014).
    """
    grey = pixels.astype(np.float32).mean(axis=2)
    known = (~hole).astype(np.float32)
    parts = []
    for axis in (1, 0):
        change = np.abs(np.roll(grey, -1, axis) - grey)
        seen = known * np.roll(known, -1, axis)
        np.moveaxis(seen, axis, 0)[-1] = 0  # what was rolled in from the other side of the image
        parts.append(_mean(change, seen, side))
    return np.dstack(parts) * np.float32(np.sqrt(_TEXTURE))


def _spread_texture(texture: NDArray[np.float32], hole: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """The texture with the hole's as around it, over squares of `side` pixels."""
    known = (~hole).astype(np.float32)
    around = np.dstack([_mean(texture[..., i], known, side) for i in range(2)])
    return np.where(hole[..., None], around, texture)


def _mean(values: NDArray[np.float32], weights: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Weighted means over squares of that side; that of everything where a square has no weight."""
    weighted = values * weights
    total = cv2.blur(weights, (side, side))
    overall = float(weighted.sum()) / max(float(weights.sum()), 1e-6)
    local = cv2.blur(weighted, (side, side)) / np.maximum(total, 1e-6)
    return np.where(total > 1e-5, local, np.float32(overall)).astype(np.float32)


class ClassicalInpainter:
    """Fills holes from their surroundings by `fill`, which takes pixels (H×W×3 uint8) and the hole (H×W bool)."""

    native = None
    multiple = 1
    batch = 1

    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    def paint(self, images: Sequence[MaskedImage], /) -> list[NDArray[np.uint8]]:
        """Each image filled. The same one gives the same pixels."""
        return [self._fill(np.ascontiguousarray(image.pixels), image.mask) for image in images]


def open_patches(argument: None = None) -> ClassicalInpainter:
    """Continues texture with patches of the surroundings."""
    return ClassicalInpainter(fill_with_patches)


def open_telea(argument: None = None) -> ClassicalInpainter:
    """OpenCV's fast marching (Telea, 2004), which continues smooth surroundings only."""
    return ClassicalInpainter(partial(_by_opencv, cv2.INPAINT_TELEA))


def open_navier_stokes(argument: None = None) -> ClassicalInpainter:
    """OpenCV's Navier–Stokes (Bertalmio, Bertozzi and Sapiro, 2001), which continues smooth surroundings only."""
    return ClassicalInpainter(partial(_by_opencv, cv2.INPAINT_NS))


def _by_opencv(flag: int, pixels: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.asarray(cv2.inpaint(pixels, hole.astype(np.uint8), _RADIUS, flag), np.uint8)
