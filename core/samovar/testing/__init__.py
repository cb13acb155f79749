"""Contract suites for plugins: subclass one beside one fixture, and pytest checks what the protocol promises.

```python
import pytest
from samovar.testing import SegmenterTests
from my_package.segmenter import load

@pytest.fixture(scope="module")
def segmenter():
    return load("mine", weights=None, device="cpu", dtype="auto")

class TestMine(SegmenterTests):
    def load_weights(self, path, *, encoder, decoder):
        save_random_weights(path, encoder, decoder)
        return load("mine", weights=str(path), device="cpu", dtype="auto")
```

Needs pytest, which Samovar itself does not install.
"""

from __future__ import annotations

import pytest

# Before the suites are imported, so that a failing assert shows its values in a third party's run too.
_SUITES = ("inpainters", "segmenters", "sinks", "sources", "tiers", "trackers")
pytest.register_assert_rewrite(*(f"samovar.testing.{name}" for name in _SUITES))

from samovar.testing.inpainters import InpainterTests  # noqa: E402
from samovar.testing.segmenters import SegmenterTests  # noqa: E402
from samovar.testing.sinks import MaskSinkTests  # noqa: E402
from samovar.testing.sources import PromptSourceTests  # noqa: E402
from samovar.testing.tiers import CacheTierTests  # noqa: E402
from samovar.testing.trackers import TrackerTests  # noqa: E402

__all__ = ["CacheTierTests", "InpainterTests", "MaskSinkTests", "PromptSourceTests", "SegmenterTests", "TrackerTests"]
