"""What `segment`, `auto` and `run` share: on a second visit to an image, its pixels are left alone unless wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.ImageFile import ImageFile

from samovar import Image, Masks, Runtime
from samovar.cache import Cache, DiskTier
from samovar.cli.job import run_job
from samovar.plugins import MaskSinkSpec, list_mask_sinks, resolve
from samovar.protocols import PixelNeeds
from tests.core.cache.support import PixelSegmenter

Decoded = Callable[..., int]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (12, 16, 3), np.uint8)
        Pillow.fromarray(pixels).save(folder / f"{number}.png")
    return folder


class Silent:
    """A sink that does not say whether it looks at pixels."""

    def done(self) -> list[str]:
        return []

    def write(self, key: str, image: Image, masks: Masks) -> None:
        pass

    def close(self) -> None:
        pass


class Boxes(Silent):
    """One that says so."""

    def __init__(self, needs_pixels: bool) -> None:
        self.needs_pixels = needs_pixels


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photos: Path) -> Decoded:
    """Gives how many files Pillow decodes for a job over the photos, each job in a new process as it were."""
    files: list[ImageFile] = []
    load = ImageFile.load

    def noted(self: ImageFile) -> Any:
        if not any(file is self for file in files):
            files.append(self)
        return load(self)

    monkeypatch.setattr(ImageFile, "load", noted)

    def count(*, sink: object = None, source: object = None) -> int:
        tier = DiskTier(tmp_path / "cache", 1 << 24)
        runtime = Runtime(PixelSegmenter(), cache=Cache([tier], disk=tier, admission="always"))
        files.clear()
        status = run_job(
            runtime,
            [str(photos)],
            lambda item, image: runtime.segment(image, []),
            {} if sink is None else {"sink": sink},  # type: ignore[dict-item]
            source=source,  # type: ignore[arg-type]
            where=None,
            resume=False,
            as_json=False,
            quiet=True,
        )
        assert status == 0
        return len(files)

    return count


def test_a_second_visit_decodes_nothing_where_nobody_looks_at_pixels(decoded: Decoded) -> None:
    assert decoded() == 3
    assert decoded() == 0
    assert decoded(sink=Boxes(False)) == 0


@pytest.mark.parametrize("sink", [Boxes(True), Silent()], ids=["looks at pixels", "does not say"])
def test_a_sink_that_looks_at_pixels_or_does_not_say_gets_them_ahead(decoded: Decoded, sink: object) -> None:
    decoded()
    assert decoded(sink=sink) == 3


def test_so_does_a_source(decoded: Decoded) -> None:
    decoded()
    assert decoded(source=Boxes(True)) == 3
    assert decoded(source=Boxes(False)) == 0


def wants_pixels(spec: MaskSinkSpec, folder: Path) -> bool:
    sink = resolve(spec)(str(folder / spec.name))
    return not isinstance(sink, PixelNeeds) or sink.needs_pixels


def test_only_the_formats_that_draw_the_picture_ask_for_pixels(tmp_path: Path) -> None:
    asking = {spec.name for spec in list_mask_sinks() if wants_pixels(spec, tmp_path)}
    assert asking == {"overlay"}
