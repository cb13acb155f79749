"""What the tests of SAM 3 share: skipped where transformers is absent."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason='SAM 3 needs torch; pip install "samovar[sam3]"')
pytest.importorskip("transformers", reason='SAM 3 needs transformers; pip install "samovar[sam3]"')
