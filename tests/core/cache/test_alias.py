"""The alias table: whatever it is told, and however many."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from samovar.cache import index
from samovar.cache.entry import fields_digest
from samovar.cache.index import AliasTable, Index


def name(number: int) -> str:
    return fields_digest(b"key", str(number).encode())


def digest(number: int) -> str:
    return fields_digest(b"pixels", str(number).encode())


def learn(path: Path, *numbers: int) -> None:
    """As another process would, and be gone."""
    written = Index(path)
    for number in numbers:
        AliasTable(written).put(name(number), digest(number))
    written.flush({})


def test_what_one_process_learned_another_knows(tmp_path: Path) -> None:
    learn(tmp_path / "index", 1)
    other = AliasTable(Index(tmp_path / "index"))
    assert other.get(name(1)) == digest(1)
    assert other.get(name(2)) is None


def test_what_is_not_written_down_yet_is_known_to_the_same_process(tmp_path: Path) -> None:
    shared = Index(tmp_path / "index")
    AliasTable(shared).put(name(1), digest(1))
    assert AliasTable(shared).get(name(1)) == digest(1)
    assert not (tmp_path / "index").exists()


def test_the_latest_digest_counts(tmp_path: Path) -> None:
    shared = Index(tmp_path / "index")
    for number in range(20):
        AliasTable(shared).put(name(1), digest(number))
        shared.flush({})
    assert AliasTable(Index(tmp_path / "index")).get(name(1)) == digest(19)


def test_the_oldest_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ALIASES", 32)
    for start in range(0, 200, 10):
        learn(tmp_path / "index", *range(start, start + 10))
    other = AliasTable(Index(tmp_path / "index"))
    assert [number for number in range(200) if other.get(name(number)) is not None] == list(range(168, 200))


def test_a_record_that_was_changed_is_as_none(tmp_path: Path) -> None:
    """SQLite has no checksums of its own: a digest of other pixels would give another image's embedding."""
    learn(tmp_path / "index", 1, 2)
    with sqlite3.connect(tmp_path / "index") as db:
        db.execute("UPDATE aliases SET pixels = ? WHERE key = ?", (bytes.fromhex(digest(2)), bytes.fromhex(name(1))))
    db.close()
    other = AliasTable(Index(tmp_path / "index"))
    assert other.get(name(1)) is None
    assert other.get(name(2)) == digest(2)


def test_without_an_index_it_is_for_this_process_alone() -> None:
    table = AliasTable()
    table.put(name(1), digest(1))
    assert table.get(name(1)) == digest(1)
    table.forget()
    assert table.get(name(1)) is None


def test_a_place_that_cannot_be_written_to_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    table = AliasTable(Index(tmp_path / "file" / "index"))
    table.put(name(1), digest(1))
    assert table.get(name(1)) == digest(1)
    assert table.get(name(2)) is None
