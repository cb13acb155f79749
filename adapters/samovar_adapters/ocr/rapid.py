"""Text, found and read by RapidOCR (PaddleOCR's models on ONNX Runtime)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.image import Image
from samovar_adapters.text import TextLine, TextSource, level_of

__all__ = ["RapidText"]

_SURE = 0.9  # that a line is upside down; the engine's own default


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
        self._engine: Any = RapidOCR(
            params={
                "Global.log_level": "error",
                "Cls.cls_thresh": _SURE,
                "Global.return_word_box": self._level != "lines",
                "Global.return_single_char_box": self._level == "characters",
            }
        )
        self._lock = threading.Lock()

    def lines(self, image: Image) -> list[TextLine]:
        """What it reads on one image, with polygons and scores. Raises ImageError."""
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # the engine wants BGR
        with self._lock:
            found = self._engine(backwards, use_det=True, use_cls=True, use_rec=True)
            if found.boxes is None:
                return []
            if self._level == "lines":
                return [TextLine(*line) for line in zip(found.boxes, found.txts, found.scores)]
            return list(self._words(backwards, found))

    def _words(self, pixels: NDArray[np.uint8], found: Any) -> Iterator[TextLine]:
        """Every word that could be placed.

        The engine turns the image of a line that is upside down before it reads it, and forgets to turn the places of
        the words back: they lie in their line as if it had been read from its other end.
        """
        upside_down: dict[int, bool] = {}
        for line in found.word_results:
            words = [word for word in line if isinstance(word, tuple) and word[2] is not None]
            if not words:
                continue
            places = np.array([polygon for *_, polygon in words], np.float32)
            number = _around(found.boxes, places.reshape(-1, 2).mean(axis=0))
            box = np.asarray(found.boxes[number], np.float32)
            if number not in upside_down:
                upside_down[number] = self._is_upside_down(_crop(pixels, box))
            if upside_down[number]:
                places = 2 * box.mean(axis=0) - places
            for (text, score, _), place in zip(words, places):
                yield TextLine(place, text, score)

    def _is_upside_down(self, line: NDArray[np.uint8]) -> bool:
        ((label, score),) = self._engine(line, use_det=False, use_cls=True, use_rec=False).cls_res
        return "180" in label and score > _SURE


def _around(boxes: Sequence[Any], point: NDArray[np.float32]) -> int:
    """Which of the boxes the point lies in, or else next to."""
    at = float(point[0]), float(point[1])
    inside = [cv2.pointPolygonTest(np.asarray(box, np.float32), at, measureDist=True) for box in boxes]
    return int(np.argmax(inside))


def _crop(pixels: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The image of one line, as the engine cuts it out: what is upright is laid on its left side."""
    width = max(int(max(np.linalg.norm(box[0] - box[1]), np.linalg.norm(box[2] - box[3]))), 1)
    height = max(int(max(np.linalg.norm(box[0] - box[3]), np.linalg.norm(box[1] - box[2]))), 1)
    flat = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    how = cv2.getPerspectiveTransform(box, flat)
    cut = cv2.warpPerspective(pixels, how, (width, height), borderMode=cv2.BORDER_REPLICATE, flags=cv2.INTER_CUBIC)
    return np.ascontiguousarray(np.rot90(cut) if height >= 1.5 * width else cut, np.uint8)
