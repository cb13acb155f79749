"""MMOCR's detectors and recognisers as a source of prompts."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from samovar.device import choose_device
from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.prompts import Prompts
from samovar_adapters.mmdet.argument import FAILURES, fraction, parse, reason
from samovar_adapters.mmocr.lines import lines_of
from samovar_adapters.ocr.lines import TextLine, to_prompts

__all__ = ["MmocrText"]


class MmocrText:
    """One prompt per piece of text, curved text included: its box, points along its centre line, its string as label.

    Without a recogniser the label is "text". Any number of threads may use it at once; they take turns.

    Args:
        argument: "DET[,REC]", each the path of a config or one of MMOCR's model names, and settings "det_weights=…",
            "rec_weights=…", "score_thr=…" (0.3 by default) and "device=…" (a GPU if there is one), separated by commas.

    Raises:
        InputError: no detector, or one that cannot be made; a setting that cannot be.
        DeviceError: a device that this machine does not have.
    """

    def __init__(self, argument: str | None) -> None:
        from mmocr.apis import MMOCRInferencer

        given = parse("mmocr", argument, ("det", "rec"), ("det_weights", "rec_weights", "score_thr", "device"))
        self._threshold = fraction("mmocr", "score_thr", given.pop("score_thr", "0.3"))
        given["device"] = choose_device(given.get("device", "auto"), ("cuda", "cpu"), "mmocr")
        try:
            self._inferencer = MMOCRInferencer(**given)
        except FAILURES as error:
            raise InputError(f"mmocr: {argument} does not make a text detector: {reason(error)}") from error
        self._lock = threading.Lock()

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """The text of each image. Raises ImageError for an image that cannot be read."""
        if requests is not None:
            raise PromptError("mmocr answers no requests; lower prompts with another source")
        return [to_prompts(self.lines(image), image.width, image.height) for image in images]

    def lines(self, image: Image) -> list[TextLine]:
        """What it finds and reads on one image, with polygons and scores. Raises ImageError."""
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # MMOCR takes arrays as BGR
        with self._lock:  # not by a call of it, which draws a progress bar on standard output
            (found,) = self._inferencer.postprocess(self._inferencer.forward([backwards]))["predictions"]
        return [line for line in lines_of(found) if line.score >= self._threshold]
