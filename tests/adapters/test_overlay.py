"""The overlay sink. What it draws: tests/core/masks/test_draw.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from samovar import Image, Masks
from samovar_adapters.overlay import OverlaySink, draw_overlay


def test_the_sink_writes_what_was_drawn(photo: Path, tmp_path: Path) -> None:
    image = Image(photo)
    masks = Masks.from_crops([np.ones((160, 160), bool)], [(220, 120)], image.width, image.height)
    for tags in (True, False):
        OverlaySink(tmp_path, tags=tags).write("a/photo.jpg", image, masks)
        with Pillow.open(tmp_path / "a" / "photo.jpg.png") as picture:
            assert np.array_equal(np.asarray(picture), draw_overlay(image, masks, tags=tags))
