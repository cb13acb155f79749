"""Every family keeps the contract of a segmenter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from samovar.testing import SegmenterTests
from samovar_plugins.sam.catalogue import Family
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.loading import fingerprint
from samovar_plugins.sam.networks import build
from samovar_plugins.sam.segmenter import SamSegmenter
from tests.plugins.sam.models import tiny
from tests.plugins.sam.weights import TINY, random_weights, two_seeds


class FamilyTests(SegmenterTests):
    family: ClassVar[Family]

    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny(self.family)

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> SamSegmenter:
        tensors = two_seeds(partial(random_weights, self.family), encoder, decoder)
        torch.save(tensors, path)
        with torch.inference_mode():
            parts = build(self.family, State(tensors), TINY.frame)
        mark = fingerprint(self.family, path, torch.float32)
        return SamSegmenter(parts, fingerprint=mark, device="cpu", dtype=torch.float32)


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
