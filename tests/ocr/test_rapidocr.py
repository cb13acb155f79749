"""RapidOCR, the real engine with its own models, on photographs with known words printed on them."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageFont

import samovar
from samovar import Image, Masks, Prompts
from samovar.errors import PromptError, UnknownNameError
from samovar.loading import open_source
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.inpaint import text_masks
from samovar_adapters.ocr import text_mask, to_prompts
from samovar_adapters.ocr.rapid import RapidText
from tests.commands import status_of
from tests.ocr.printed import WORDS, Line, Printed, print_on

PHOTOS = ("bsdstr__100075", "cocotr__000000000443", "bsdstr__12003", "cocotr__000000000142")


@pytest.fixture(scope="module")
def printed(data_folder: Path) -> list[Printed]:
    return [print_on(Image(data_folder / "masks" / "images" / f"{name}.jpg")) for name in PHOTOS]


@pytest.fixture(scope="module")
def lines() -> RapidText:
    return RapidText()


def letters(text: str | None) -> str:
    """What of a string is certain: the engine does not always see the space between two words."""
    return (text or "").replace(" ", "")


class TestRapidText(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box", "points")

    @pytest.fixture
    def source(self, lines: RapidText) -> RapidText:
        return lines

    @pytest.fixture
    def images(self, printed: list[Printed], photo: Path) -> list[Image]:
        return [printed[0].image, Image(photo), Image(np.zeros((1, 1, 3), np.uint8)), printed[1].image]


def test_every_printed_line_is_found_read_and_boxed(lines: RapidText, printed: list[Printed]) -> None:
    for (image, _), prompts in zip(printed, lines.prompts([image for image, _ in printed])):
        assert [letters(label) for label in prompts.labels] == [letters(line.text) for line in WORDS], image.name
        for prompt, line in zip(prompts, WORDS):
            assert prompt.box is not None
            assert np.abs(prompt.box[:2] - line.at).max() < line.size, "starts where it was printed"


class Known:
    """An engine that has been asked already."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return [self._prompts]


def test_the_masks_cover_the_ink(lines: RapidText, printed: list[Printed], capsys: pytest.CaptureFixture[str]) -> None:
    """From photograph to mask with nothing in between: find, read, segment, compare with the printed pixels."""
    sam = samovar.load("default", cache="off")
    pixels: dict[tuple[str, int], NDArray[np.int64]] = defaultdict(lambda: np.zeros(3, np.int64))
    for image, ink in printed:
        found = lines.lines(image)
        prompts = to_prompts(found, image.width, image.height)
        ways = {
            "outlines": Masks.from_polygons([[line.polygon] for line in found], image.width, image.height),
            "masks": sam.segment(image, prompts),
            "letters": text_masks(image, Known(prompts)),
        }
        for (way, masks), dilate in itertools.product(ways.items(), (0, 1, 3)):
            covered = text_mask(masks, dilate=dilate).to_array()[0]
            pixels[way, dilate] += (covered & ink).sum(), covered.sum(), ink.sum()
    precision = {key: both / covered for key, (both, covered, _) in pixels.items()}
    recall = {key: both / inked for key, (both, _, inked) in pixels.items()}
    with capsys.disabled():
        print()
        for way, dilate in pixels:
            print(
                f"{way} grown by {dilate} px: precision {precision[way, dilate]:.3f}, recall {recall[way, dilate]:.3f}"
            )
    assert recall["masks", 0] > 0.95
    assert precision["masks", 0] > 0.55
    assert precision["masks", 0] > precision["outlines", 0] + 0.1, "than without a segmenter"
    assert recall["masks", 3] > 0.995, "what an inpainting model has to repaint is all there"


def test_words_and_characters_where_the_recogniser_places_them(printed: list[Printed]) -> None:
    image = printed[0].image
    words = open_source("rapidocr=words").prompts([image])[0]
    assert {"HELLO", "Samovar", "2026", "Fresh", "Tea"} <= set(words.labels), "it may split one, not lose one"
    assert "".join(map(letters, words.labels)) == "".join(letters(line.text) for line in WORDS)
    characters = open_source("rapidocr=characters").prompts([image])[0]
    assert "".join(label or "" for label in characters.labels) == "".join(letters(line.text) for line in WORDS)
    widths = characters.boxes[:, 2] - characters.boxes[:, 0]
    assert widths.max() < 60, "a character, not a line"


def test_scores_are_told(lines: RapidText, printed: list[Printed]) -> None:
    assert all(0.5 <= line.score <= 1 for line in lines.lines(printed[0].image))


def test_turned_text_gets_points_inside_it(lines: RapidText, data_folder: Path) -> None:
    flat = print_on(Image(np.full((500, 500, 3), 200, np.uint8)), [WORDS[2]._replace(at=(130, 220))])
    turned = Image(np.array(Pillow.fromarray(flat.image.pixels).rotate(30, fillcolor=(200, 200, 200))))
    ink = np.array(Pillow.fromarray(flat.ink).rotate(30))
    (prompts,) = lines.prompts([turned])
    assert prompts.labels == ("Fresh Tea",)
    assert len(prompts.points) >= 3
    rows, columns = np.nonzero(ink)
    along = np.polyfit(columns, rows, 1)
    assert np.abs(np.polyval(along, prompts.points[:, 0]) - prompts.points[:, 1]).max() < 15, "on the slanting line"


@pytest.mark.parametrize("level", ["words", "characters"])
@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_words_lie_where_they_are_whatever_way_round_the_text_is(level: str, turn: int) -> None:
    """Two words of different lengths on one line, by quarter turns: each is found in its own half of the ink."""
    line = Line("STATION ROAD", 44, (30, 50), "black", None)
    flat, ink = print_on(Image(np.full((160, 420, 3), 220, np.uint8)), [line])
    split = 30 + ImageFont.load_default(44).getlength("STATION ")
    first = ink.copy()
    first[:, round(split) :] = False
    turned = Image(np.ascontiguousarray(np.rot90(flat.pixels, turn)))
    places = {True: np.rot90(first, turn), False: np.rot90(ink & ~first, turn)}
    prompts = RapidText(level).prompts([turned])[0]
    assert "".join(map(letters, prompts.labels)) == "STATIONROAD"
    for place, (label, box) in enumerate(zip(prompts.labels, prompts.boxes)):
        x1, y1, x2, y2 = box.round().astype(int)
        is_first = place < len("STATION") if level == "characters" else label == "STATION"
        own, other = (places[which][y1:y2, x1:x2].sum() for which in (is_first, not is_first))
        assert own > 3 * other, label


def test_from_the_command_line_a_folder_gets_its_text_masked(printed: list[Printed], tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, (image, _) in enumerate(printed[:2]):
        Pillow.fromarray(image.pixels).save(folder / f"{number}.png")
    out = tmp_path / "text.json"
    assert status_of("run", str(folder), "--source", "rapidocr", "--sink", f"coco={out}") == 0
    written = json.loads(out.read_text())
    assert len(written["annotations"]) == 2 * len(WORDS)
    assert "Fresh Tea" in {category["name"] for category in written["categories"]}


def test_an_unknown_level_is_one_line() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown level 'word'; did you mean words\?"):
        RapidText("word")


def test_requests_are_refused(lines: RapidText, photo: Path) -> None:
    with pytest.raises(PromptError, match="answers no requests"):
        lines.prompts([Image(photo)], [samovar.Prompts.from_boxes([[0, 0, 5, 5]])])
