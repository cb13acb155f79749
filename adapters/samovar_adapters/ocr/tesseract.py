"""Text, found and read by the tesseract program."""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Sequence

import cv2
import numpy as np

from samovar.errors import MissingExtraError, SamovarError
from samovar.image import Image
from samovar_adapters.text import TextLine, TextSource, level_of

__all__ = ["TesseractText"]

_SPARSE = "11"  # page segmentation: text in any order anywhere, as photos have it
_WORD = "5"  # the level of rows in its TSV that are words
_SURE = 0.5  # what it is less sure of are mostly textures taken for letters
_PATIENCE = 120.0  # seconds an image


class TesseractText(TextSource):
    """One prompt per line of text or word; see `to_prompts`. Boxes are upright: it was made for scanned pages.

    Any number of threads may use it at once; each image is a process of its own. The languages are those of the
    program's own settings: English, unless others are installed and named in $TESSERACT_LANGUAGES ("deu+eng").

    Args:
        level: "lines" or "words"; lines by default.

    Raises:
        MissingExtraError: there is no program `tesseract`.
        UnknownNameError: another level.
    """

    name = "tesseract"

    def __init__(self, level: str | None = None) -> None:
        self._level = level_of(level, "tesseract", ("lines", "words"))
        program = shutil.which("tesseract")
        if program is None:
            raise MissingExtraError(
                "tesseract needs the program of that name; install it, e.g. apt install tesseract-ocr"
            )
        languages = os.environ.get("TESSERACT_LANGUAGES", "eng")
        self._command = [program, "stdin", "stdout", "--psm", _SPARSE, "-l", languages, "tsv"]

    def lines(self, image: Image) -> list[TextLine]:
        """What it reads on one image, with boxes and scores. Raises ImageError; SamovarError if the program fails."""
        encoded = cv2.imencode(".png", image.pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
        try:
            done = subprocess.run(self._command, input=encoded, capture_output=True, timeout=_PATIENCE, check=False)
        except subprocess.TimeoutExpired as error:
            raise SamovarError(f"{image.name}: tesseract took longer than {_PATIENCE:g} s; make it smaller") from error
        if done.returncode:
            complaint = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
            raise SamovarError(f"{image.name}: tesseract failed: {complaint[0]}")
        rows = list(csv.DictReader(io.StringIO(done.stdout.decode()), delimiter="\t", quoting=csv.QUOTE_NONE))
        return _words(rows) if self._level == "words" else _lines(rows)


def _words(rows: Sequence[dict[str, str]]) -> list[TextLine]:
    return [TextLine(_corners([row]), row["text"], float(row["conf"]) / 100) for row in rows if _sure(row)]


def _lines(rows: Sequence[dict[str, str]]) -> list[TextLine]:
    """The words of which it is sure, joined to lines."""
    joined: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for row in filter(_sure, rows):
        joined.setdefault((row["block_num"], row["par_num"], row["line_num"]), []).append(row)
    return [
        TextLine(
            _corners(words),
            " ".join(word["text"] for word in words),
            sum(float(word["conf"]) for word in words) / (100 * len(words)),
        )
        for words in joined.values()
    ]


def _sure(row: dict[str, str]) -> bool:
    return row["level"] == _WORD and float(row["conf"]) >= 100 * _SURE and bool(row["text"].strip())


def _corners(words: Sequence[dict[str, str]]) -> list[tuple[float, float]]:
    boxes = np.array([[float(word[name]) for name in ("left", "top", "width", "height")] for word in words])
    (x1, y1), (x2, y2) = boxes[:, :2].min(axis=0), (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
