"""The embedded segmenter keeps the contract of every segmenter."""

from __future__ import annotations

from samovar.testing import SegmenterTests


class TestDefault(SegmenterTests):
    """Exactly: an answer depends neither on the batch nor on the thread."""
