"""Words printed on a photo, taken out again: the real engine, looking once more, finds none of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Image
from samovar_adapters.inpaint import edit_text, text_masks
from samovar_adapters.ocr.rapid import RapidText
from tests.commands import status_of
from tests.ocr.printed import WORDS, Printed, print_on


@pytest.fixture(scope="module")
def engine() -> RapidText:
    return RapidText()


@pytest.fixture(scope="module")
def printed(photo: Path) -> Printed:
    return print_on(Image(photo))


def read(engine: RapidText, picture: Image) -> str:
    """Everything that the engine reads, without spaces and in lower case."""
    return "".join(label or "" for label in engine.prompts([picture])[0].labels).replace(" ", "").casefold()


def test_removed_words_are_not_found_again(engine: RapidText, printed: Printed) -> None:
    assert all(line.text.replace(" ", "").casefold() in read(engine, printed.image) for line in WORDS)
    masks = text_masks(printed.image, engine)
    result = edit_text(printed.image, masks)
    assert read(engine, Image(result)) == ""
    ys, xs = np.nonzero(np.any(result != printed.image.pixels, axis=2))
    boxes = masks.boxes
    assert xs.min() >= boxes[:, 0].min() - 6
    assert ys.max() <= boxes[:, 3].max() + 6


def test_only_the_words_that_were_named_go(engine: RapidText, printed: Printed) -> None:
    result = edit_text(printed.image, text_masks(printed.image, engine, "samovar"))
    left = read(engine, Image(result))
    assert "samovar" not in left
    assert "helloworld" in left


def test_other_words_stand_in_their_place(printed: Printed, engine: RapidText, tmp_path: Path) -> None:
    sign, out = str(tmp_path / "sign.png"), str(tmp_path / "out.png")
    Pillow.fromarray(printed.image.pixels).save(sign)
    words = ["--find", "fresh", "--replace", "Cold Milk"]
    assert status_of("inpaint", "edit-text", *words, sign, "--out", out) == 0
    found = read(engine, Image(out))
    assert "freshtea" not in found
    assert "coldmilk" in found
