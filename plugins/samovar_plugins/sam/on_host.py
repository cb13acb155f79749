"""Bringing answers from where the model runs to the host, without ever letting the device wait for the host."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from samovar_plugins.sam.decoder import Decoded

__all__ = ["Answered", "on_host"]

Answered = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Which prompts (N), their logits (N×M×h×w) and predicted IoUs (N×M)."""

AHEAD = 1
"""Chunks of a CUDA device that are under way while the host works on the one before them."""


def on_host(chunks: Iterator[tuple[NDArray[np.int64], Decoded]]) -> Iterator[Answered]:
    """The same chunks as arrays, in order; the next one is begun before this one is waited for."""
    under_way: deque[tuple[NDArray[np.int64], _Copy]] = deque()
    for index, decoded in chunks:
        if decoded.logits.device.type != "cuda":
            yield index, decoded.logits.cpu().numpy(), decoded.ious.cpu().numpy()
            continue
        under_way.append((index, _Copy(decoded)))
        if len(under_way) > AHEAD:
            first, copy = under_way.popleft()
            yield first, *copy.wait()
    for index, copy in under_way:
        yield index, *copy.wait()


class _Copy:
    """A copy to the host that has been asked for. Only page-locked memory is written to without stopping the device."""

    def __init__(self, decoded: Decoded) -> None:
        self._arrays = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in decoded]
        for array, tensor in zip(self._arrays, decoded):
            array.copy_(tensor, non_blocking=True)
        self._done = torch.cuda.Event()
        self._done.record(torch.cuda.current_stream(decoded.logits.device))

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits and the IoUs."""
        self._done.synchronize()
        logits, ious = (array.numpy() for array in self._arrays)
        return logits, ious
