"""Tesseract, the real program, on a photograph with a printed sign in it: the kind of text that it was made for."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import samovar
from samovar import Image
from samovar.errors import MissingExtraError, PromptError, SamovarError, UnknownNameError
from samovar.loading import open_source
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.ocr import text_mask
from samovar_adapters.ocr.tesseract import TesseractText
from tests.ocr.printed import Line, Printed, print_on

SIGN = (
    Line("Fresh tea every morning", 26, (75, 80), "black", None),
    Line("Closed on Sunday", 26, (75, 130), "black", None),
)


@pytest.fixture(scope="module")
def sign(data_folder: Path) -> Printed:
    pixels = np.array(Image(data_folder / "masks" / "images" / "bsdstr__100075.jpg").pixels)
    pixels[60:180, 50:430] = (235, 228, 214)
    return print_on(Image(pixels, name="sign"), SIGN)


class TestTesseractText(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box", "points")

    @pytest.fixture
    def source(self) -> TesseractText:
        return TesseractText()

    @pytest.fixture
    def images(self, sign: Printed, photo: Path) -> list[Image]:
        return [sign.image, Image(photo), Image(np.zeros((1, 1, 3), np.uint8))]


def test_lines_of_a_sign_are_found_read_and_masked(sign: Printed, capsys: pytest.CaptureFixture[str]) -> None:
    (prompts,) = open_source("tesseract").prompts([sign.image])
    assert prompts.labels == tuple(line.text for line in SIGN)
    covered = text_mask(samovar.load("default", cache="off").segment(sign.image, prompts)).to_array()[0]
    precision, recall = (covered & sign.ink).sum() / covered.sum(), (covered & sign.ink).sum() / sign.ink.sum()
    with capsys.disabled():
        print(f"\ntext masks of a sign grown by 3 px: precision {precision:.3f}, recall {recall:.3f}")
    assert recall > 0.95
    assert precision > 0.15, "strokes as thin as these grow manifold by three pixels each way"


def test_words_of_a_sign(sign: Printed) -> None:
    (prompts,) = TesseractText("words").prompts([sign.image])
    assert prompts.labels == tuple(word for line in SIGN for word in line.text.split())


def test_tesseract_places_no_characters() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown level 'characters'; known: lines, words; .*tesseract=words"):
        TesseractText("characters")


def test_without_the_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="apt install tesseract-ocr"):
        TesseractText()


def test_what_the_program_complains_about_is_one_line(monkeypatch: pytest.MonkeyPatch, photo: Path) -> None:
    monkeypatch.setenv("TESSERACT_LANGUAGES", "klingon")
    with pytest.raises(SamovarError, match=r"photo\.jpg: tesseract failed: .*klingon") as caught:
        TesseractText().prompts([Image(photo)])
    assert "\n" not in str(caught.value)


def test_a_program_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, photo: Path) -> None:
    program = tmp_path / "tesseract"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("samovar_adapters.ocr.tesseract._PATIENCE", 0.2)
    with pytest.raises(SamovarError, match=r"took longer than 0\.2 s"):
        TesseractText().prompts([Image(photo)])


def test_requests_are_refused(photo: Path) -> None:
    with pytest.raises(PromptError, match="answers no requests"):
        TesseractText().prompts([Image(photo)], [samovar.Prompts.from_boxes([[0, 0, 5, 5]])])
