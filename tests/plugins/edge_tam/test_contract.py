"""EdgeTAM keeps the contract of a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
import torch

from samovar.testing import SegmenterTests
from samovar_plugins.edge_tam.loading import assemble
from samovar_plugins.sam.loading import fingerprint
from samovar_plugins.sam.segmenter import SamSegmenter
from tests.plugins.edge_tam.weights import random_weights, tiny
from tests.plugins.sam.weights import two_seeds


class TestEdgeTam(SegmenterTests):
    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny()

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> SamSegmenter:
        tensors = two_seeds(random_weights, encoder, decoder)
        torch.save(tensors, path)
        mark = fingerprint("edge-tam", path, torch.float32)
        return assemble(tensors, fingerprint=mark, device="cpu", dtype=torch.float32, frame=64)
