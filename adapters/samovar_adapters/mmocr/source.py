"""MMOCR's detectors and recognisers as a source of prompts."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from samovar.device import choose_device
from samovar.errors import InputError
from samovar.image import Image
from samovar_adapters.openmmlab import FAILURES, fraction, parse_argument, reason
from samovar_adapters.text import TextLine, TextSource

__all__ = ["MmocrText", "lines_of"]


class MmocrText(TextSource):
    """One prompt per piece of text, curved text included: its box, points along its centre line, its string as label.

    Without a recogniser the label is "text". Any number of threads may use it at once; they take turns.

    Args:
        argument: "DET[,REC]", each the path of a config or one of MMOCR's model names, and settings "det_weights=…",
            "rec_weights=…", "score_thr=…" (0.3 by default) and "device=…" (a GPU if there is one), separated by commas.

    Raises:
        InputError: no detector, or one that cannot be made; a setting that cannot be.
        DeviceError: a device that this machine does not have.
    """

    name = "mmocr"

    def __init__(self, argument: str | None) -> None:
        from mmocr.apis import MMOCRInferencer

        given = parse_argument("mmocr", argument, ("det", "rec"), ("det_weights", "rec_weights", "score_thr", "device"))
        self._threshold = fraction("mmocr", "score_thr", given.pop("score_thr", "0.3"))
        given["device"] = choose_device(given.get("device", "auto"), ("cuda", "cpu"), "mmocr")
        try:
            self._inferencer = MMOCRInferencer(**given)
        except FAILURES as error:
            raise InputError(f"mmocr: {argument} does not make a text detector: {reason(error)}") from error
        self._lock = threading.Lock()

    def lines(self, image: Image) -> list[TextLine]:
        """What it finds and reads on one image, with polygons and scores. Raises ImageError."""
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # MMOCR takes arrays as BGR
        with self._lock:  # not by a call of it, which draws a progress bar on standard output
            (found,) = self._inferencer.postprocess(self._inferencer.forward([backwards]))["predictions"]
        return [line for line in lines_of(found) if line.score >= self._threshold]


def lines_of(prediction: Any) -> list[TextLine]:
    """The lines of one image's prediction.

    Args:
        prediction: a dictionary as `MMOCRInferencer` or `TextDetInferencer` gives it in its "predictions"; or a
            `TextDetDataSample` or `TextSpottingDataSample`, or its `pred_instances`.

    Raises:
        InputError: a polygon that is none.
    """
    if isinstance(prediction, Mapping):
        polygons = prediction.get("det_polygons", prediction.get("polygons", ()))
        scores = prediction.get("det_scores", prediction.get("scores"))
        texts = prediction.get("rec_texts", prediction.get("texts"))
    else:
        found = getattr(prediction, "pred_instances", prediction)
        polygons, scores, texts = found.get("polygons", ()), found.get("scores"), found.get("texts")
    return [
        TextLine(polygon, str(_entry(texts, number, "")), float(_entry(scores, number, 1.0)))
        for number, polygon in enumerate(polygons)
    ]


def _entry(column: Sequence[Any] | None, number: int, default: Any) -> Any:
    return default if column is None or number >= len(column) else column[number]
