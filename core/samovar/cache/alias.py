"""The alias table: what pixels an encoded picture holds, so that a hit never decodes it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

from samovar.cache.forks import on_fork
from samovar.cache.keys import fields_digest

__all__ = ["AliasTable"]

REMEMBERED = 65536
_DIGITS = frozenset("0123456789abcdef")


class AliasTable:
    """Alias key → pixel digest, in memory and, given a folder, in one small file each.

    Args:
        folder: for the files, or None for this process only.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._recent: OrderedDict[str, str] = OrderedDict()
        on_fork(self._renew)

    def get(self, key: str) -> str | None:
        """The pixel digest, or None; a damaged file is as none."""
        with self._lock:
            known = self._recent.get(key)
            if known is not None:
                self._recent.move_to_end(key)
                return known
        if self.folder is None:
            return None
        try:
            text = self._path(self.folder, key).read_bytes()
        except OSError:
            return None
        digest = text[:64].decode("ascii", "replace")
        if len(text) != 96 or not _DIGITS.issuperset(digest) or text[64:] != _check(key, digest):
            return None
        self._remember(key, digest)
        return digest

    def put(self, key: str, digest: str) -> None:
        """Remember it. A folder that cannot be written to is passed over: an alias only saves time."""
        self._remember(key, digest)
        if self.folder is None:
            return
        path = self._path(self.folder, key)
        temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(digest.encode() + _check(key, digest))
            temporary.replace(path)

    def forget(self) -> None:
        """Forget what is in memory."""
        with self._lock:
            self._recent.clear()

    def _renew(self) -> None:
        self._lock, self._recent = threading.Lock(), OrderedDict()

    def _remember(self, key: str, digest: str) -> None:
        with self._lock:
            self._recent[key] = digest
            self._recent.move_to_end(key)
            while len(self._recent) > REMEMBERED:
                self._recent.popitem(last=False)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / key[2:]


def _check(key: str, digest: str) -> bytes:
    return fields_digest(b"alias", key.encode(), digest.encode())[:32].encode()
