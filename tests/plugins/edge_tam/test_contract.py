"""EdgeTAM keeps the contract of a segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from samovar.testing import SegmenterTests
from samovar_plugins.toolkit import SamSegmenter
from tests.plugins.edge_tam.weights import random_weights, tiny, tiny_of
from tests.plugins.sam.weights import saved, two_seeds

pytestmark = pytest.mark.slow


class TestEdgeTam(SegmenterTests):
    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny()

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> SamSegmenter:
        return tiny_of(saved(path, two_seeds(random_weights, encoder, decoder)))
