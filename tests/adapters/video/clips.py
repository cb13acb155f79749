"""Clips made for tests: pictures that move, with the true masks of what moves."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar import Image, Masks

__all__ = ["ball", "clip", "meadow"]

Mask = NDArray[np.bool_]


def meadow(width: int = 192, height: int = 128, seed: int = 3) -> NDArray[np.uint8]:
    """H×W×3 uint8: a textured green ground."""
    noise = np.random.default_rng(seed).normal(0, 40, (height, width, 3)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.5), np.float32)
    return np.asarray(np.clip(2 * soft + (70, 130, 60), 0, 255), np.uint8)


def ball(colour: tuple[int, int, int], radius: int = 16) -> tuple[NDArray[np.uint8], Mask]:
    """A striped ball in its box, and its mask."""
    side = 2 * radius + 1
    rows, columns = np.mgrid[:side, :side] - radius
    inside = rows**2 + columns**2 <= radius**2
    picture = np.full((side, side, 3), colour, np.uint8)
    picture[(rows + columns) % 10 < 4] = np.array(colour, np.uint8) // 2
    return picture, inside


def clip(
    ground: NDArray[np.uint8],
    sprites: list[tuple[NDArray[np.uint8], Mask]],
    where: Callable[[int], list[tuple[int, int] | None]],
    count: int,
) -> tuple[list[Image], list[list[Mask]]]:
    """`count` frames with the sprites' visible masks, later sprites in front.

    Args:
        where: frame number → for every sprite its centre (x, y), or None while it is away.
    """
    frames, truth = [], []
    height, width = ground.shape[:2]
    for number in range(count):
        picture, owner = ground.copy(), np.full((height, width), -1)
        for index, ((look, inside), centre) in enumerate(zip(sprites, where(number))):
            if centre is None:
                continue
            rows, columns = np.nonzero(inside)
            y, x = rows + centre[1] - inside.shape[0] // 2, columns + centre[0] - inside.shape[1] // 2
            kept = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            picture[y[kept], x[kept]] = look[rows[kept], columns[kept]]
            owner[y[kept], x[kept]] = index
        frames.append(Image(picture, name=f"frame {number}"))
        truth.append([owner == index for index in range(len(sprites))])
    return frames, truth


def iou(masks: Masks, index: int, truth: Mask) -> float:
    """Of one mask with the true one."""
    found = masks[index].to_array()[0]
    union = np.count_nonzero(found | truth)
    return np.count_nonzero(found & truth) / union if union else 1.0
