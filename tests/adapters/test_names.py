"""Keys and file names: nothing collides, nothing escapes, everything comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovar.errors import InputError
from samovar.pipeline import worklist
from samovar_adapters.formats.files import file_of, key_of, order_of, stem_of

keys = st.text(st.sampled_from("ab./%-é"), max_size=8)
ROOT = Path("out")


@given(keys)
def test_a_key_comes_back_from_its_file(key: str) -> None:
    assert key_of(ROOT, file_of(ROOT, key, ".png"), ".png") == key


@given(keys, keys)
def test_two_keys_never_share_a_file(one: str, other: str) -> None:
    assert (file_of(ROOT, one, ".png") == file_of(ROOT, other, ".png")) == (one == other)


@given(keys)
def test_no_key_leads_out_of_the_folder(key: str) -> None:
    for file in (file_of(ROOT, key, ".png"), stem_of(ROOT, key, ".png")):
        assert file.parts[0] == "out"
        assert ".." not in file.parts


def test_ordinary_keys_make_ordinary_names() -> None:
    assert file_of(ROOT, "a/b.jpg", ".png") == ROOT / "a" / "b.jpg.png"
    assert stem_of(ROOT, "a/b.jpg", ".json") == ROOT / "a" / "b.json"
    assert stem_of(ROOT, "a.b/c.d.jpg", ".json") == ROOT / "a.b" / "c.d.json"


def test_keys_sort_as_a_folder_is_walked(tmp_path: Path) -> None:
    names = ["b.png", "a/z.png", "a.png", "a/b/c.png", "a-1/x.png", "a/a.png", "z/y.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    walked = [item.key for item in worklist([str(tmp_path)])[0]]
    assert sorted(names, key=order_of) == walked


def test_a_key_that_no_file_can_be_named_after_is_one_line() -> None:
    with pytest.raises(InputError, match="usable as a file name"):
        file_of(ROOT, "a\0b", ".png")
