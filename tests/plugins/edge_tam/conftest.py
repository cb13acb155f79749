"""What the tests of EdgeTAM share: skipped where torch is absent."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason='EdgeTAM needs torch; pip install "samovar[sam]"')
