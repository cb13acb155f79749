"""The alias table: what pixels an encoded picture holds, so that a hit never decodes it.

One file of fixed size, sparse until it fills: a hash table of `BUCKETS` buckets with `WAYS` records each. A record that
finds its bucket full replaces one of those there; all that is lost is the time to decode one picture again. Readers and
writers take no lock: a record that two writers mixed up does not match its checksum, and is as none.

    record: 16 bytes of the alias key, 32 of the pixel digest, 16 of BLAKE3 over both in full
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from samovar.cache.descriptors import open_descriptor
from samovar.cache.forks import on_fork
from samovar.cache.keys import fields_digest

__all__ = ["AliasTable"]

REMEMBERED = 65536
BUCKETS, WAYS, RECORD = 1 << 16, 8, 64
BUCKET = WAYS * RECORD
_EMPTY = bytes(RECORD)


class AliasTable:
    """Alias key → pixel digest, in memory and, given a path, in a file of at most 32 MiB that processes share.

    Args:
        path: of the file, made when it is first needed; None for this process only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, str] = OrderedDict()
        on_fork(self._renew)

    def get(self, key: str) -> str | None:
        """The pixel digest, or None; a damaged record is as none."""
        with self._lock:
            known = self._recent.get(key)
            if known is not None:
                self._recent.move_to_end(key)
                return known
        for record in self._bucket(key):
            digest = record[16:48].hex()
            if record == _record(key, digest):
                self._remember(key, digest)
                return digest
        return None

    def put(self, key: str, digest: str) -> None:
        """Remember it. A file that cannot be written to is passed over: an alias only saves time."""
        self._remember(key, digest)
        if self.path is None:
            return
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            fd = open_descriptor(self.path, os.O_RDWR | os.O_CREAT)
            try:
                os.lseek(fd, _place(key) + self._way(key) * RECORD, os.SEEK_SET)
                os.write(fd, _record(key, digest))
            finally:
                os.close(fd)

    def forget(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._recent.clear()

    def _bucket(self, key: str) -> list[bytes]:
        """The records of the bucket that `key` belongs into; none where there is no file."""
        if self.path is None:
            return []
        try:
            with self.path.open("rb", buffering=0) as file:
                file.seek(_place(key))
                data = file.read(BUCKET)
        except OSError:
            return []
        return [data[start : start + RECORD] for start in range(0, len(data), RECORD)]

    def _way(self, key: str) -> int:
        """Which record of its bucket `key` is to be written over: its own, an empty one, or any."""
        records = self._bucket(key)
        records += [_EMPTY] * (WAYS - len(records))
        tag = bytes.fromhex(key[:32])
        own = [way for way, record in enumerate(records) if record[:16] == tag]
        empty = [way for way, record in enumerate(records) if record == _EMPTY]
        return (own or empty or [os.urandom(1)[0] % WAYS])[0]

    def _renew(self) -> None:
        self._lock, self._recent = threading.Lock(), OrderedDict()

    def _remember(self, key: str, digest: str) -> None:
        with self._lock:
            self._recent[key] = digest
            self._recent.move_to_end(key)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)


def _place(key: str) -> int:
    """Where the bucket of `key` begins in the file."""
    return int(key[-8:], 16) % BUCKETS * BUCKET


def _record(key: str, digest: str) -> bytes:
    check = fields_digest(b"alias", key.encode(), digest.encode())[:32]
    return bytes.fromhex(key[:32] + digest + check)
