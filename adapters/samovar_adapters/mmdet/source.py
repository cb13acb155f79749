"""Any detector of MMDetection as a source of prompts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from samovar.errors import InputError, UnknownNameError
from samovar.image import Image
from samovar.prompts import Prompts
from samovar_adapters.mmdet.argument import parse

__all__ = ["DetectorBoxes"]


class DetectorBoxes:
    """Boxes that a detector predicts, labelled with the names of their classes, best-scored first.

    Detectors of an open vocabulary (Grounding DINO, GLIP) look for what the requests name, or for `text` where there
    are none; others answer a request with the boxes of the class of that name. Any number of threads may use it at
    once; they take turns.

    Args:
        argument: "CONFIG[,CHECKPOINT]" and settings "text=…" (entities separated by " . "), "score_thr=…" (0.3 by
            default) and "device=…" ("cpu" by default), all separated by commas.

    Raises:
        InputError: no config, or one that cannot be read; a setting that cannot be.
    """

    def __init__(self, argument: str | None) -> None:
        from mmdet.apis import init_detector

        given = parse("mmdet", argument, ("config", "checkpoint"), ("text", "score_thr", "device"))
        self._text = given.get("text")
        self._threshold = _fraction(given.get("score_thr", "0.3"))
        try:
            self._model = init_detector(
                given["config"], given.get("checkpoint"), device=given.get("device", "cpu"), palette="random"
            )
        except (OSError, KeyError, TypeError, AttributeError, SyntaxError) as error:
            raise InputError(f"mmdet: {given['config']} does not make a detector: {error}") from error
        self._open = hasattr(self._model, "language_model")
        self._lock = threading.Lock()

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """What it finds on each image, or of it what the image's requests ask for by text.

        Raises:
            ImageError: an image cannot be read.
            InputError: an open vocabulary and no text at all.
            UnknownNameError: a text that is no class of a detector of a closed vocabulary.
        """
        if requests is None:
            return [self._found(image, self._text) for image in images]
        return [
            Prompts.concat([part for prompt in row for part in self._answer(image, prompt)])
            for image, row in zip(images, requests)
        ]

    def _answer(self, image: Image, prompt: Any) -> Iterator[Prompts]:
        if prompt.text is None:
            return
        if not self._open and prompt.text.lower() not in map(str.lower, self._classes):
            raise UnknownNameError.among("class", prompt.text, self._classes, "or use an open-vocabulary detector")
        found = self._found(image, prompt.text if self._open else None)
        for row in range(len(found)):
            if self._open or (found.labels[row] or "").lower() == prompt.text.lower():
                yield Prompts.from_boxes(found.boxes[row : row + 1], labels=[prompt.label], ids=[prompt.id])

    @property
    def _classes(self) -> Sequence[str]:
        classes: Sequence[str] = self._model.dataset_meta["classes"]
        return classes

    def _found(self, image: Image, text: str | None) -> Prompts:
        from mmdet.apis import inference_detector

        if self._open and text is None:
            raise InputError("mmdet: this detector finds what is named; add text=…, such as text=cat . dog")
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # MMDetection takes arrays as BGR
        with self._lock:
            sample = inference_detector(self._model, backwards, text_prompt=text, custom_entities=text is not None)
        predicted = sample.pred_instances.cpu()
        boxes = np.clip(predicted.bboxes.numpy(), 0, [image.width, image.height] * 2).astype(np.float32)
        scores = predicted.scores.numpy()
        order = np.argsort(-scores, kind="stable")
        good = (scores >= self._threshold) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        order = order[good[order]]
        return Prompts.from_boxes(boxes[order], labels=[self._label(predicted, row) for row in order])

    def _label(self, predicted: Any, row: int) -> str:
        if "label_names" in predicted:  # of an open vocabulary
            return str(predicted.label_names[row]).strip()  # it leaves the spaces around separators
        number = int(predicted.labels[row])
        return self._classes[number] if number < len(self._classes) else str(number)


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InputError(f"mmdet: score_thr must be between 0 and 1; got {text!r}")
    return value
