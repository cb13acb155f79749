"""What the tests of SAM 2 share: skipped where torch is absent."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason='SAM 2 needs torch; pip install "samovar[sam]"')
