"""Which code this is: what an embedding looks like is decided by the code as much as by the fitted numbers."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

__all__ = ["code_digest"]


@functools.cache
def code_digest(folder: Path = Path(__file__).parent) -> str:
    """16 hexadecimal digits that change whenever any module of this package does.

    All modules count, though some only decode: a version number, or a list of those that encode, is one that somebody
    forgets to change; an embedding made again costs a fraction of a second.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.name} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()[:16]
