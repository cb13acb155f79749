"""Fingerprints of the tensors themselves: of each its name, shape, dtype and bytes, never of a path or a container.

So the same weights as `.pth` and as `.safetensors` have one fingerprint, and other weights at the same path another.
Hashing gigabytes takes seconds, so the digests of a file's tensors are remembered under what identifies the file:
device, inode, size, and the times of its last change. A file that has just been written is never remembered: another
write within the clock's granularity would leave all of these as they are (git treats its index the same way).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.fingerprint import fingerprint_arrays

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["combined", "digests_of", "tensor_digests"]

FORMAT = 1
"""Raised when a digest is made of anything else than before."""

RECENT = 5.0
"""Seconds since a file's last change from which on it is remembered; the coarsest clock, FAT's, ticks every 2."""


def tensor_digests(
    files: Sequence[Path], load: Callable[[], Mapping[str, Tensor]]
) -> tuple[Mapping[str, Tensor], dict[str, bytes]]:
    """What `load` reads from `files`, and the digest of each tensor, by its name."""
    before = _identity(files)
    tensors = load()
    known = _recall(before)
    if known.keys() == tensors.keys() and _identity(files) == before:
        return tensors, known
    digests = digests_of(tensors)
    if _identity(files) == before and _settled(files):
        _remember(before, digests)
    return tensors, digests


def combined(digests: Mapping[str, bytes], *told: object) -> str:
    """32 hex digits of tensors' digests with their names, in any order, and of what else is told, as its `repr`."""
    from blake3 import blake3

    hasher = blake3()
    named = [part for name in sorted(digests) for part in (name.encode(), digests[name])]
    for part in (*named, b"told", *(repr(one).encode() for one in told)):
        hasher.update(len(part).to_bytes(8, "little") + part)
    return hasher.hexdigest(length=16)


def digests_of(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    """Of each tensor the digest of its shape, dtype and bytes."""
    return {name: bytes.fromhex(fingerprint_arrays({"": tensor})) for name, tensor in tensors.items()}


def _identity(files: Sequence[Path]) -> str:
    stats = [file.stat() for file in files]
    each = ((one.st_dev, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in stats)
    return ";".join(":".join(map(str, one)) for one in each)


def _settled(files: Sequence[Path]) -> bool:
    """Whether the last change of all of them is long enough ago."""
    changed = (max(one.st_mtime, one.st_ctime) for one in (file.stat() for file in files))
    return max(changed) < time.time() - RECENT


def _store() -> Path:
    """Where digests are remembered: in $SAMOVAR_CACHE_DIR, or in the platform's folder for caches."""
    from platformdirs import user_cache_path

    given = os.environ.get("SAMOVAR_CACHE_DIR")
    folder = Path(given).expanduser() if given else user_cache_path("samovar", appauthor=False)
    return folder / "weights.sqlite"


def _recall(identity: str) -> dict[str, bytes]:
    """The digests by tensor; none where the file is not known, or nothing can be read."""
    import sqlite3

    path = _store()
    if not path.exists():
        return {}
    try:
        with closing(sqlite3.connect(path, timeout=1)) as store:
            rows = store.execute("SELECT name, digest FROM digests WHERE file = ? AND format = ?", (identity, FORMAT))
            return dict(rows.fetchall())
    except sqlite3.Error:  # torn, or another version's: what it would save is only time
        return {}


def _remember(identity: str, digests: Mapping[str, bytes]) -> None:
    """Keep the digests, unless that cannot be."""
    import sqlite3

    path = _store()
    rows = [(identity, FORMAT, name, digest) for name, digest in digests.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=1)) as store, store:
            store.execute(
                "CREATE TABLE IF NOT EXISTS digests(file, format, name, digest, PRIMARY KEY(file, format, name))"
            )
            store.executemany("INSERT OR REPLACE INTO digests VALUES(?, ?, ?, ?)", rows)
    except (sqlite3.Error, OSError):
        return
