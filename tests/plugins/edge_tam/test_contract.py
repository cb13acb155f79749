"""EdgeTAM keeps the contract of a segmenter."""

from __future__ import annotations

from typing import ClassVar

import pytest

from samovar.testing import SegmenterTests
from samovar_plugins.sam.segmenter import SamSegmenter
from tests.plugins.edge_tam.weights import tiny


class TestEdgeTam(SegmenterTests):
    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny()
