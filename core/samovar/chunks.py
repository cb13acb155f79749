"""Cutting work to a byte budget: images into windows, and their ragged prompts into decode calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from samovar.errors import InputError
from samovar.image import Image

__all__ = ["Piece", "chunk", "windows"]

MAX_WINDOW = 16

Rest = TypeVar("Rest")


class Piece(NamedTuple):
    """Prompts `start` … `stop` of image number `image` of a window."""

    image: int
    start: int
    stop: int


def windows(pairs: Iterable[tuple[Image, Rest]], budget: int) -> Iterator[list[tuple[Image, Rest]]]:
    """Consecutive pairs whose pixels together fit `budget` bytes; at least one and at most 16 images each."""
    window: list[tuple[Image, Rest]] = []
    held = 0
    for pair in pairs:
        size = pair[0].width * pair[0].height * 3
        if window and (held + size > budget or len(window) == MAX_WINDOW):
            yield window
            window, held = [], 0
        window.append(pair)
        held += size
    if window:
        yield window


def chunk(
    counts: Sequence[int], bytes_each: Sequence[int], budget: int, most: int | None = None
) -> Iterator[list[Piece]]:
    """Pieces for one decode call after another, each call within `budget` bytes (but always at least one prompt).

    Args:
        counts: number of prompts of each image.
        bytes_each: what one prompt of that image costs.
        budget: bytes a call may use.
        most: prompts a call may hold.

    Raises:
        InputError: a call that may hold no prompt.
    """
    if most is None:
        most = sum(counts)
    elif most < 1:
        raise InputError(f"max_prompts must be at least 1; got {most}")
    call: list[Piece] = []
    room, places = budget, most
    for image, (count, cost) in enumerate(zip(counts, bytes_each)):
        start = 0
        while start < count:
            take = min(count - start, places, max(room // max(cost, 1), 0 if call else 1))
            if take == 0:
                yield call
                call, room, places = [], budget, most
                continue
            call.append(Piece(image, start, start + take))
            room -= take * cost
            places -= take
            start += take
    if call:
        yield call
