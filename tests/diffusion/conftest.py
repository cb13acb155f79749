"""Collected only where diffusers is installed: these tests have a nox session of their own."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("diffusers") and find_spec("transformers") else ["*.py"]
