"""Every tier that ships fulfils the contract that third parties' tiers do."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from samovar.cache import CacheTier, DiskTier, MemoryTier
from samovar.testing import CacheTierTests

BUDGET = 1 << 20


class TestMemoryTier(CacheTierTests):
    max_bytes = BUDGET

    @pytest.fixture
    def tier_factory(self) -> object:
        return lambda folder: MemoryTier(BUDGET)


class TestDiskTier(CacheTierTests):
    shared: ClassVar[bool] = True
    max_bytes = BUDGET

    @pytest.fixture
    def tier_factory(self) -> object:
        def open_tier(folder: Path) -> CacheTier:
            return DiskTier(folder, BUDGET)

        return open_tier


class TestSharedTier(CacheTierTests):
    shared: ClassVar[bool] = True

    @pytest.fixture
    def tier_factory(self) -> object:
        pytest.importorskip("fsspec", reason="fsspec is not installed")
        from samovar.cache.shared import open_shared

        return lambda folder: open_shared(f"file://{folder}")


class TestPinnedTier(CacheTierTests):
    max_bytes = BUDGET

    @pytest.fixture
    def tier_factory(self) -> object:
        pytest.importorskip("torch", reason="torch is not installed")
        from samovar.cache.cuda import PinnedTier

        return lambda folder: PinnedTier(BUDGET, "cpu")
