"""The journal: append-only, and whole up to where a kill tore it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samovar.errors import SamovarError
from samovar_adapters.formats.coco import Journal

records = st.lists(st.binary(max_size=30).filter(lambda data: b"\n" not in data), max_size=5)


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(written=records, cut=st.integers(0, 200), more=records)
def test_wherever_it_is_cut_whole_records_stay_and_new_ones_follow(
    written: list[bytes], cut: int, more: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path)
    ends = [0]
    for record in written:
        start, length = journal.append(record)
        assert path.read_bytes()[start : start + length] == record
        ends.append(path.stat().st_size)
    journal.close()
    path.write_bytes(path.read_bytes()[:cut])
    whole = [record for record, end in zip(written, ends[1:]) if end <= cut]
    again = Journal(path)
    assert [record for _, record in again.records()] == whole
    for record in more:
        again.append(record)
    assert [record for _, record in again.records()] == whole + more
    again.close()


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    journal.append(b"first")
    journal.append(b"second")
    journal.close()
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    again = Journal(path)
    assert [record for _, record in again.records()] == [b"first"]
    again.close()


def test_a_record_is_on_the_disk_before_append_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    journal = Journal(tmp_path / "j")
    monkeypatch.setattr("os.fsync", lambda descriptor: synced.append((tmp_path / "j").stat().st_size))
    journal.append(b"record")
    assert synced == [(tmp_path / "j").stat().st_size]
    journal.close()


def test_a_record_that_could_not_be_written_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "j")
    journal.append(b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(SamovarError, match="cannot write: No space left"):
            journal.append(b"two")
    journal.append(b"three")
    assert [record for _, record in journal.records()] == [b"one", b"three"]
    journal.close()


def test_a_journal_in_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SamovarError, match="cannot open"):
        Journal(tmp_path / "none" / "j")
