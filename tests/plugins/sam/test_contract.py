"""Every family keeps the contract of a segmenter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from samovar.testing import SegmenterTests
from samovar_plugins.sam.plugin import Kind
from samovar_plugins.toolkit import SamSegmenter
from tests.plugins.sam.models import tiny, tiny_of
from tests.plugins.sam.weights import random_weights, saved, two_seeds

pytestmark = pytest.mark.slow


class FamilyTests(SegmenterTests):
    family: ClassVar[Kind]

    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny(self.family)

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> SamSegmenter:
        weights = two_seeds(partial(random_weights, self.family), encoder, decoder)
        return tiny_of(self.family, saved(path, weights))


class TestSam(FamilyTests):
    family = "sam"


class TestSamHq(FamilyTests):
    family = "sam-hq"


class TestLightHq(FamilyTests):
    family = "sam-hq-tiny"


class TestMobileSam(FamilyTests):
    family = "mobile-sam"


class TestEfficientSam(FamilyTests):
    family = "efficient-sam"
