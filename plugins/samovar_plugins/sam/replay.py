"""Replaying an encoder on a CUDA device: the hundreds of kernels of one image take longer to launch than to run.

A CUDA graph records them once and launches them together. An image always has the shape of the encoder's frame, so one
graph serves every image; batches are large enough to keep the device busy by themselves.
"""

from __future__ import annotations

import logging
import threading

import torch
from torch import Tensor

from samovar_plugins.sam.encoding import Encoder

__all__ = ["Replayed"]

WARM_UP = 2
"""Calls before the recording, in which libraries choose their kernels and get their memory."""

logger = logging.getLogger(__name__)


class Replayed:
    """See `Encoder`. What it gives is copied out of the graph's memory, so any number of threads may call it.

    Args:
        encoder: whose kernels to record. One that cannot be recorded is called as it is, with a warning.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.frame = encoder.frame
        self._encoder = encoder
        self._lock = threading.Lock()
        self._recording: _Recording | None = None
        self._refused = False

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        if self._refused or len(frames) > 1:
            return self._encoder(frames)
        with self._lock, torch.cuda.device(frames.device):
            if self._recording is None:
                try:
                    self._recording = _Recording(self._encoder, frames)
                except RuntimeError as error:
                    self._refused = True
                    logger.warning("the encoder cannot be recorded as a CUDA graph (%s); it runs without", error)
                    return self._encoder(frames)
            return self._recording(frames)


class _Recording:
    """One encoder's kernels for frames of one shape, with the memory that they read and write."""

    def __init__(self, encoder: Encoder, frames: Tensor) -> None:
        self._given = frames.clone()
        calling, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(calling)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                encoder(self._given)
        calling.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._found = encoder(self._given)
        self._free = torch.cuda.Event()
        self._free.record(calling)

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        stream = torch.cuda.current_stream()
        stream.wait_event(self._free)
        self._given.copy_(frames)
        self._graph.replay()
        found = {name: tensor.clone() for name, tensor in self._found.items()}
        self._free.record(stream)
        return found
