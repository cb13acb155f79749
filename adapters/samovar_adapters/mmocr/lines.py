"""Lines of text out of what MMOCR predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from samovar_adapters.ocr.lines import TextLine

__all__ = ["lines_of"]


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
