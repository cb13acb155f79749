"""Makes text.jpg from photo.jpg: words printed on it, found and masked, and taken out again.

Needs `pip install "samovar[rapidocr]"`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

import samovar
from samovar.loading import open_source
from samovar_adapters.inpaint import edit_text, text_masks
from samovar_adapters.overlay import draw_overlay

HERE = Path(__file__).parent


def main() -> None:
    picture = Pillow.open(HERE / "photo.jpg").convert("RGB")
    draw = ImageDraw.Draw(picture)
    draw.text((426, 60), "Fresh Tea", "white", ImageFont.load_default(34), stroke_width=2, stroke_fill="black")
    draw.text((388, 338), "Samovar 2026", "gold", ImageFont.load_default(31))
    image, source = samovar.Image(np.array(picture)), open_source("rapidocr")
    masks = samovar.load("default", cache="off").segment(image, source.prompts([image])[0])
    masked, erased = draw_overlay(image, masks, tags=False), edit_text(image, text_masks(image, source))
    panels = [panel[:, 340:] for panel in (image.pixels, masked, erased)]
    Pillow.fromarray(np.concatenate(panels, axis=1)).save(HERE / "text.jpg", quality=88)


if __name__ == "__main__":
    main()
