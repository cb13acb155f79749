"""Everything Samovar expects of a segmenter, checked by the suite that comes with it."""

import pytest
from samovar.testing import SegmenterTests

from samovar_threshold.segmenter import ThresholdSegmenter


@pytest.fixture(scope="module")
def segmenter():
    return ThresholdSegmenter()


class TestThreshold(SegmenterTests):
    def load_weights(self, path, *, encoder, decoder):
        return None  # Otsu's method has none
