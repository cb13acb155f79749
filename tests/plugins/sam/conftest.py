"""What the tests of this family share: tiny models, skipped where torch is absent."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason='the SAM family needs torch; pip install "samovar[sam]"')
