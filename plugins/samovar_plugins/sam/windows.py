"""Cutting a map into square windows for windowed attention, and joining them again."""

from __future__ import annotations

from torch import Tensor

__all__ = ["cut", "join"]


def cut(x: Tensor, side: int, filling: Tensor | None) -> Tensor:
    """B×h×w×C → (B·windows)×side×side×C; what sticks out of the map is `filling` (C), or zero."""
    count, height, width, channels = x.shape
    down, across = -height % side, -width % side
    if down or across:
        padded = x.new_empty(count, height + down, width + across, channels)
        padded[:, :height, :width] = x
        for edge in (padded[:, height:], padded[:, :height, width:]):
            edge[:] = 0 if filling is None else filling
        x = padded
    cells = x.unflatten(2, (-1, side)).unflatten(1, (-1, side))
    return cells.transpose(2, 3).reshape(-1, side, side, channels)


def join(x: Tensor, size: tuple[int, int]) -> Tensor:
    """(B·windows)×side×side×C → B×h×w×C: the inverse of `cut`."""
    side = x.shape[1]
    height, width = (-(-extent // side) for extent in size)
    cells = x.unflatten(0, (-1, height, width)).transpose(2, 3)
    return cells.flatten(3, 4).flatten(1, 2)[:, : size[0], : size[1]]
