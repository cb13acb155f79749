"""What `segment`, `auto` and `run` share: on a second visit to an image, its pixels are left alone unless wanted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Image, Masks, Runtime
from samovar.cache import Cache, DiskTier
from samovar.cli.job import write_masks
from samovar.pipeline import Item
from samovar.plugins import MaskSinkSpec, list_mask_sinks, resolve
from samovar.protocols import PixelNeeds
from tests.core.cache.support import PixelSegmenter


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


def decoded(folder: Path, photos: Path, *, sink: Silent | None = None, source: object = None) -> list[bool]:
    """Whether each image's pixels had been decoded when its masks were there, in a new process as it were."""
    tier = DiskTier(folder, 1 << 24)
    cache = Cache([tier], disk=tier, admission="always")
    runtime = Runtime(PixelSegmenter(), cache=cache)
    seen = []

    def segment(item: Item, image: Image) -> Masks:
        masks = runtime.segment(image, [])
        seen.append(image._pixels is not None)
        return masks

    sinks = {} if sink is None else {"sink": sink}
    status = write_masks(
        runtime, [str(photos)], segment, sinks, source=source,  # type: ignore[arg-type]
        where=None, resume=False, as_json=False, quiet=True,
    )  # fmt: skip
    assert status == 0
    return seen


def test_a_second_visit_decodes_nothing_where_nobody_looks_at_pixels(tmp_path: Path, photos: Path) -> None:
    assert decoded(tmp_path / "cache", photos) == [True] * 3
    assert decoded(tmp_path / "cache", photos) == [False] * 3
    assert decoded(tmp_path / "cache", photos, sink=Boxes(False)) == [False] * 3


@pytest.mark.parametrize("needs", [True, None])
def test_a_sink_that_looks_at_pixels_or_does_not_say_gets_them_ahead(
    tmp_path: Path, photos: Path, needs: bool | None
) -> None:
    decoded(tmp_path / "cache", photos)
    assert decoded(tmp_path / "cache", photos, sink=Silent() if needs is None else Boxes(needs)) == [True] * 3


def test_so_does_a_source(tmp_path: Path, photos: Path) -> None:
    decoded(tmp_path / "cache", photos)
    assert decoded(tmp_path / "cache", photos, source=Boxes(True)) == [True] * 3
    assert decoded(tmp_path / "cache", photos, source=Boxes(False)) == [False] * 3


def wants_pixels(spec: MaskSinkSpec, folder: Path) -> bool:
    sink = resolve(spec)(str(folder / spec.name))
    return not isinstance(sink, PixelNeeds) or sink.needs_pixels


def test_only_the_formats_that_draw_the_picture_ask_for_pixels(tmp_path: Path) -> None:
    asking = {spec.name for spec in list_mask_sinks() if wants_pixels(spec, tmp_path)}
    assert asking == {"overlay"}
