"""One Label Studio, one backend and one model for all tests here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

import samovar
from tests.label_studio.studio import Backend, Studio, backend_process, studio_process


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of what a person would see are kept."""
    folder = Path(os.environ.get("SAMOVAR_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    with studio_process(os.environ["SAMOVAR_LABEL_STUDIO"], tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture(scope="session")
def backend(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with backend_process(studio, tmp_path_factory.mktemp("backend"), "--warm-new") as running:
        yield running


@pytest.fixture(scope="session")
def model() -> samovar.Runtime:
    """What the backend runs, here."""
    return samovar.load("default")


@pytest.fixture(scope="session")
def photo(repository: Path) -> Path:
    return repository / "docs" / "assets" / "photo.jpg"


@pytest.fixture(scope="session")
def portrait(repository: Path) -> Path:
    return repository / "docs" / "assets" / "portrait.jpg"


QUIET = ("background-networking", "component-update", "sync", "quic", "gpu")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    assert program, "these tests need Chromium"
    arguments = ["--no-sandbox", "--no-first-run", *(f"--disable-{what}" for what in QUIET)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
