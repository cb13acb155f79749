"""Byte counts as people write them."""

from __future__ import annotations

import pytest

from samovar.errors import InputError
from samovar.sizes import format_bytes, parse_bytes


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("1024", 1024), ("512MB", 512_000_000), ("2 GiB", 2 << 30), ("1.5kB", 1500), ("3g", 3_000_000_000)],
)
def test_decimal_and_binary_units_are_told_apart(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "much", "-1", "1XB", "1 2"])
def test_what_is_no_size_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="expected a size such as") as caught:
        parse_bytes(text)
    assert "\n" not in str(caught.value)


def test_sizes_are_shown_in_the_largest_unit_that_keeps_them_above_one() -> None:
    assert [format_bytes(n) for n in (0, 1023, 1024, 3 << 20, 5 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 MiB",
        "5.0 TiB",
    ]
