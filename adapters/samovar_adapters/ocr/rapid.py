"""Text, found and read by RapidOCR (PaddleOCR's models on ONNX Runtime)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from samovar.image import Image
from samovar_adapters.text import TextLine, TextSource, level_of

__all__ = ["RapidText"]


class RapidText(TextSource):
    """One prompt per line of text, word or character; see `to_prompts`. Chinese, English and digits.

    Any number of threads may use it at once; they take turns at the engine, which uses all cores by itself.

    Args:
        level: "lines", "words" or "characters" (where the recogniser places them); lines by default.

    Raises:
        UnknownNameError: another level.
    """

    name = "rapidocr"

    def __init__(self, level: str | None = None) -> None:
        from rapidocr import RapidOCR

        self._level = level_of(level, "rapidocr")
        self._engine = RapidOCR(
            params={
                "Global.log_level": "error",
                "Global.return_word_box": self._level != "lines",
                "Global.return_single_char_box": self._level == "characters",
            }
        )
        self._lock = threading.Lock()

    def lines(self, image: Image) -> list[TextLine]:
        """What it reads on one image, with polygons and scores. Raises ImageError."""
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # the engine wants BGR
        with self._lock:
            found = self._engine(backwards)
        if found.boxes is None:
            return []
        if self._level == "lines":
            return [TextLine(*line) for line in zip(found.boxes, found.txts, found.scores)]
        return [TextLine(polygon, text, score) for text, score, polygon in _words(found.word_results)]


def _words(results: Sequence[Any]) -> Iterator[tuple[str, float, Any]]:
    """(text, score, polygon) of every word; a line in which no word could be placed gives none."""
    for line in results:
        for word in line:
            if isinstance(word, tuple) and word[2] is not None:
                yield word
