"""`samovar plugins new`: a plugin package to start from."""

from __future__ import annotations

from samovar.scaffold.package import KINDS, scaffold

__all__ = ["KINDS", "scaffold"]
