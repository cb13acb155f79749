"""The shared tier: entries on a file system that a team shares, through fsspec: NFS, S3, GCS, SFTP …

    URL/v2/entries/ab/abcdef….emb     the very files of the disk tier

There is no index and no lock: any number of machines read and write, two may now and then encode the same image, and
the same bytes are then written twice. How much is kept is the business of whoever owns the place: a life-cycle rule of
the bucket, or `samovar cache prune` over it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from samovar.cache.entry import SCHEMA, CorruptEntryError, Entry, EntryInfo, dump, file_info, parse, parse_header
from samovar.cache.tiers import Evicted, TierTraits
from samovar.errors import CacheError

__all__ = ["SharedTier", "open_shared"]

HEAD = 1 << 14
SLICE = 256

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "memory"})
"""Stores in which a file appears whole or not at all. Elsewhere it is written under another name and then renamed."""


def open_shared(argument: str | None = None) -> SharedTier:
    """The shared tier at a URL that fsspec knows (`s3://bucket/folder`, `file:///mnt/team/samovar`), or a folder.

    Raises:
        CacheError: no URL.
        ModuleNotFoundError: fsspec, or what it needs for that kind of URL, is not installed.
    """
    if not argument:
        raise CacheError('the shared tier needs a place; expected "shared=URL", such as shared=s3://bucket/samovar')
    return SharedTier(argument)


class SharedTier:
    """Entries as files on any file system of fsspec.

    Args:
        url: of the folder.
        options: what fsspec needs to get there.
    """

    name = "shared"
    traits = TierTraits(async_writes=True, shared=True, persistent=True)

    def __init__(self, url: str, **options: Any) -> None:
        self.url = url
        self._fs, root = import_module("fsspec.core").url_to_fs(url, **options)
        self._root = f"{root.rstrip('/')}/v{SCHEMA}/entries"
        protocol = self._fs.protocol
        self._atomic = bool(ATOMIC & {protocol, *(protocol if isinstance(protocol, tuple) else ())})
        self._numbers = itertools.count()

    def get(self, key: str) -> Entry | None:
        """The entry, or None; a damaged one is dropped. Raises OSError, or what the file system raises."""
        try:
            return parse(self._fs.cat_file(self._path(key)), key)
        except FileNotFoundError:
            return None
        except CorruptEntryError:
            self.delete(key)
            return None

    def put(self, entry: Entry) -> Sequence[Evicted]:
        """Publish `entry`. Raises OSError, or what the file system raises."""
        path, data = self._path(entry.key), b"".join(dump(entry))
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        if self._atomic:
            self._fs.pipe_file(path, data)
            return ()
        temporary = f"{path}.{os.getpid()}-{os.urandom(6).hex()}-{next(self._numbers)}.tmp"
        try:
            self._fs.pipe_file(temporary, data)
            self._rename(temporary, path)
        except BaseException:
            if self._fs.exists(temporary):
                self._fs.rm_file(temporary)
            raise
        return ()

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one."""
        try:
            if not self._fs.exists(self._path(key)):
                return False
            self._fs.rm_file(self._path(key))
        except FileNotFoundError:  # somebody else was faster
            return False
        return True

    def contains(self, key: str) -> bool:
        """Whether there is a file for the entry, without reading it."""
        return bool(self._fs.exists(self._path(key)))

    def entries(self) -> Iterator[EntryInfo]:
        """What is there, by the headers of the files; `used` is when each was written."""
        listing = sorted(self._listing(), key=lambda row: str(row["name"]))
        for start in range(0, len(listing), SLICE):
            rows = listing[start : start + SLICE]
            names = [row["name"] for row in rows]
            heads = self._fs.cat_ranges(names, [0] * len(rows), [min(HEAD, row["size"]) for row in rows])
            for row, head in zip(rows, heads):
                info = _info(row, head)
                if info is not None:
                    yield info

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """Drop the oldest entries until at most `limit` bytes stay, and those written before a time.

        Who used what is not known here, so age stands for worth.
        """
        infos = sorted(self.entries(), key=lambda info: info.used)
        excess = 0 if limit is None else sum(info.nbytes for info in infos) - limit
        evicted = []
        for info in infos:
            old = unused_since is not None and info.used < unused_since
            if (old or excess > 0) and self.delete(info.key):
                excess -= info.nbytes
                evicted.append(Evicted(info, "old" if old else "pruned"))
        return evicted

    def _listing(self) -> Iterator[dict[str, Any]]:
        try:
            found = self._fs.find(self._root, detail=True)
        except FileNotFoundError:
            return
        yield from (row for row in found.values() if row["name"].endswith(".emb"))

    def _rename(self, temporary: str, path: str) -> None:
        if "file" in (self._fs.protocol if isinstance(self._fs.protocol, tuple) else (self._fs.protocol,)):
            os.replace(temporary, path)  # noqa: PTH105  (fsspec's own mv copies, and may be seen half-way)
        else:
            self._fs.mv(temporary, path)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}.emb"


def _info(row: dict[str, Any], head: bytes | Exception) -> EntryInfo | None:
    if isinstance(head, Exception):
        return None
    try:
        return file_info(parse_header(head)[0], int(row["size"]), _written(row))
    except CorruptEntryError:
        return None


def _written(row: dict[str, Any]) -> float:
    """When a file was written, by whatever name its file system has for that."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        value: Any = row.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if hasattr(value, "timestamp"):
            return float(value.timestamp())
    return time.time()
