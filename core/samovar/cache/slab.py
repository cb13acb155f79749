"""One large stretch of memory, given out in blocks that stay theirs for as long as an array of theirs lives."""

from __future__ import annotations

import bisect
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samovar.cache.foreign import torch
from samovar.cache.forks import on_fork
from samovar.cache.parts import aligned

__all__ = ["Block", "Slab"]


class Block:
    """A part of a slab. NumPy arrays over it hold on to it; the last one to go gives it back."""

    def __init__(self, address: int, nbytes: int) -> None:
        self.nbytes = nbytes
        self.__array_interface__ = {
            "data": (address, True),
            "shape": (nbytes,),
            "typestr": "|u1",
            "version": 3,
        }

    def array(self) -> NDArray[np.uint8]:
        """Its bytes, read-only, for good."""
        return np.asarray(self)


class Slab:
    """Memory for blocks, page-locked where there is a CUDA device, so that copies to it need not wait for the CPU.

    Args:
        nbytes: of it; taken from the system when the first block is asked for.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self._lock = threading.RLock()  # a block may be given back by a collection in the middle of `take`
        on_fork(self._renew)
        self._memory: Any = None
        self._free: list[tuple[int, int]] = [(0, nbytes)]

    @property
    def free(self) -> int:
        """Bytes in no block."""
        with self._lock:
            return sum(size for _, size in self._free)

    def take(self, nbytes: int, fill: Callable[[NDArray[np.uint8]], object]) -> Block | None:
        """A block of that many bytes, filled by `fill`, or None where no gap is that large."""
        size = max(aligned(nbytes), aligned(1))
        with self._lock:
            if self._memory is None:
                module = torch()
                self._memory = module.empty(self.nbytes, dtype=module.uint8, pin_memory=module.cuda.is_available())
            for index, (start, gap) in enumerate(self._free):
                if gap >= size:
                    self._free[index : index + 1] = [(start + size, gap - size)] if gap > size else []
                    break
            else:
                return None
        fill(self._memory.numpy()[start : start + nbytes])
        block = Block(self._memory.data_ptr() + start, nbytes)
        # The finaliser keeps the slab, and so the memory, alive as long as the block.
        weakref.finalize(block, self._give, start, size)
        return block

    def _renew(self) -> None:
        self._lock = threading.RLock()

    def _give(self, start: int, size: int) -> None:
        with self._lock:
            index = bisect.bisect(self._free, (start, size))
            self._free.insert(index, (start, size))
            for left in (index, index - 1):
                if 0 <= left < len(self._free) - 1 and sum(self._free[left]) == self._free[left + 1][0]:
                    self._free[left : left + 2] = [(self._free[left][0], self._free[left][1] + self._free[left + 1][1])]
