"""Listings for people: rows of text in aligned columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["aligned"]


def aligned(rows: Sequence[Sequence[str]], *, words: int | None = None) -> Iterator[str]:
    """One line a row, every column as wide as its widest cell. Rows have equally many cells.

    Args:
        words: how many columns stand at the left; those after them, numbers, stand at the right. None: all are words.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        left, right = row[:words], row[len(row) if words is None else words :]
        cells = [*map(str.ljust, left, widths), *map(str.rjust, right, widths[len(left) :])]
        yield "  ".join(cells).rstrip()
