"""The alias table: one small file, whatever it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from samovar.cache import alias
from samovar.cache.alias import AliasTable
from samovar.cache.keys import fields_digest


def name(number: int) -> str:
    return fields_digest(b"key", str(number).encode())


def digest(number: int) -> str:
    return fields_digest(b"pixels", str(number).encode())


def test_what_one_process_learned_another_knows(tmp_path: Path) -> None:
    AliasTable(tmp_path / "cache" / "table").put(name(1), digest(1))
    other = AliasTable(tmp_path / "cache" / "table")
    assert other.get(name(1)) == digest(1)
    assert other.get(name(2)) is None


def test_the_latest_digest_counts_and_takes_no_second_record(tmp_path: Path) -> None:
    table = AliasTable(tmp_path / "table")
    for number in range(20):
        table.put(name(1), digest(number))
    assert AliasTable(tmp_path / "table").get(name(1)) == digest(19)
    assert (tmp_path / "table").read_bytes().count(bytes.fromhex(name(1)[:32])) == 1


def test_the_file_never_outgrows_its_size_and_keeps_what_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alias, "BUCKETS", 4)
    table = AliasTable(tmp_path / "table")
    for number in range(200):
        table.put(name(number), digest(number))
    assert (tmp_path / "table").stat().st_size <= 4 * alias.BUCKET
    other = AliasTable(tmp_path / "table")
    known = [number for number in range(200) if other.get(name(number)) is not None]
    assert len(known) == 32
    assert all(other.get(name(number)) == digest(number) for number in known)


def test_a_thousand_files_all_fit(tmp_path: Path) -> None:
    table = AliasTable(tmp_path / "table")
    for number in range(1000):
        table.put(name(number), digest(number))
    other = AliasTable(tmp_path / "table")
    assert all(other.get(name(number)) == digest(number) for number in range(1000))


def test_without_a_file_it_is_for_this_process_alone() -> None:
    table = AliasTable(None)
    table.put(name(1), digest(1))
    assert table.get(name(1)) == digest(1)
    table.forget()
    assert table.get(name(1)) is None


def test_a_place_that_cannot_be_written_to_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    table = AliasTable(tmp_path / "file" / "table")
    table.put(name(1), digest(1))
    assert table.get(name(1)) == digest(1)


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    AliasTable(tmp_path / "table").put(name(1), digest(1))
    assert (tmp_path / "table").stat().st_mode & 0o077 == 0
