"""The embedded segmenter keeps the contract of every segmenter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from samovar.testing import SegmenterTests
from samovar_plugins.default.network import load_weights
from samovar_plugins.default.segmenter import DefaultSegmenter


class TestDefault(SegmenterTests):
    """Exactly: an answer depends neither on the batch nor on the thread."""

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> DefaultSegmenter:
        """Its own weights, which lie in the package, a little shaken; the outlines of regions are the encoder's."""
        nets = {}
        for name, net in load_weights().nets.items():
            seed = encoder if name.startswith("border") else decoder
            noise = np.random.default_rng(seed).normal(1, 0.2, net.shape)
            nets[name] = (net * noise).astype(net.dtype)
        return DefaultSegmenter(replace(load_weights(), nets=nets))
