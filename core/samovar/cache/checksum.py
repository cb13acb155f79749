"""Page parity: a checksum for tensors that runs near the speed of memory.

The bytes are taken as a matrix of 64-bit words, one page of 4096 bytes a row. Its column-wise exclusive or and its
row-wise sums are worked out by NumPy, and BLAKE3 over those (and the length) is the checksum. Any damage within one
page, however large, changes a column; damage over several pages goes unseen only if every page's sum *and* every
column happen to stay the same; pages lost, zeroed, stale or swapped change the sums. It guards against accidents, not
against somebody who forges entries: whoever can write to the folder can write whole valid ones anyway.

BLAKE3 over all of the bytes was the first choice. It takes several times as long as reading the file does.
"""

from __future__ import annotations

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

__all__ = ["page_parity"]

PAGE = 4096


def page_parity(data: bytes | memoryview | NDArray[np.uint8]) -> str:
    """The checksum of `data` (contiguous bytes), of any length; 32 hex digits."""
    octets = data if isinstance(data, np.ndarray) else np.frombuffer(data, np.uint8)
    whole = octets.size // PAGE * PAGE
    pages = octets[:whole].view("<u8").reshape(-1, PAGE // 8)
    columns = np.bitwise_xor.reduce(pages, axis=0) if whole else np.zeros(PAGE // 8, np.uint64)
    sums = pages.sum(axis=1, dtype=np.uint64)
    hasher = blake3(octets.size.to_bytes(8, "little"))
    for piece in (columns.astype("<u8"), sums.astype("<u8"), octets[whole:]):
        hasher.update(piece.tobytes())
    return hasher.hexdigest()[:32]
