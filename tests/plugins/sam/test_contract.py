"""Every family keeps the contract of a segmenter."""

from __future__ import annotations

from typing import ClassVar

import pytest

from samovar.testing import SegmenterTests
from samovar_plugins.sam.segmenter import SamSegmenter
from tests.plugins.sam.models import tiny


class FamilyTests(SegmenterTests):
    # A product of matrices rounds differently when it has more rows, so a chunk of prompts differs from one alone in
    # the last bit, and a mask of random weights in the odd pixel.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98


class TestSam(FamilyTests):
    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny("sam")


class TestSamHq(FamilyTests):
    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny("sam-hq")


class TestLightHq(FamilyTests):
    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny("sam-hq-tiny")


class TestMobileSam(FamilyTests):
    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny("mobile-sam")


class TestEfficientSam(FamilyTests):
    @pytest.fixture
    def segmenter(self) -> SamSegmenter:
        return tiny("efficient-sam")
