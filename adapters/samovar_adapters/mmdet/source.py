"""Any detector of MMDetection as a source of prompts."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samovar.device import choose_device
from samovar.errors import InputError, UnknownNameError
from samovar.image import Image
from samovar.prompts import Prompt, Prompts
from samovar_adapters.openmmlab import FAILURES, fraction, parse_argument, reason

__all__ = ["DetectorBoxes"]

_log = logging.getLogger("samovar.mmdet")


class DetectorBoxes:
    """Boxes that a detector predicts, labelled with the names of their classes, best-scored first.

    Detectors of an open vocabulary (Grounding DINO, GLIP) look for what the requests name, or for `text` where there
    are none; of others the boxes of the classes of these names are taken. Any number of threads may use it at once;
    they take turns.

    Args:
        argument: "CONFIG[,CHECKPOINT]" and settings "text=…" (entities separated by " . " or by commas), "score_thr=…"
            (0.3 by default) and "device=…" (a GPU if there is one), all separated by commas. In place of a config's
            path one of MMDetection's model names, which brings its checkpoint if none is given.

    Raises:
        InputError: no config, or one that cannot be read; a setting that cannot be.
        UnknownNameError: a text that names no class of a detector of a closed vocabulary.
        DeviceError: a device that this machine does not have.
    """

    def __init__(self, argument: str | None) -> None:
        from mmdet.apis import DetInferencer, init_detector

        given = parse_argument("mmdet", argument, ("config", "checkpoint"), ("text", "score_thr", "device"))
        words = [word.strip() for word in re.split(r",|\.(?=\s|$)", given["text"])] if "text" in given else []
        self._text = " . ".join(filter(None, words)) if "text" in given else None
        self._threshold = fraction("mmdet", "score_thr", given.get("score_thr", "0.3"))
        device = choose_device(given.get("device", "auto"), ("cuda", "cpu"), "mmdet")
        config, checkpoint = given["config"], given.get("checkpoint")
        is_name = not config.endswith(".py") and not Path(config).exists()
        if checkpoint is None and not is_name:
            _log.warning("mmdet: no checkpoint after %s; what it finds is by untrained weights", config)
        try:
            if is_name:
                self._model = DetInferencer(config, checkpoint, device, palette="random", show_progress=False).model
            else:
                self._model = init_detector(config, checkpoint, device=device, palette="random")
        except FAILURES as error:
            raise InputError(f"mmdet: {argument} does not make a detector: {reason(error)}") from error
        self._open = hasattr(self._model, "language_model")
        if self._text is not None and not self._open:
            self._classes_of(self._text)
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

    def _answer(self, image: Image, prompt: Prompt) -> Iterator[Prompts]:
        if prompt.text is not None:
            for box in self._found(image, prompt.text).boxes:
                yield Prompts.from_boxes([box], labels=[prompt.label], ids=[prompt.id])

    @property
    def _classes(self) -> Sequence[str]:
        classes: Sequence[str] = self._model.dataset_meta["classes"]
        return classes

    def _classes_of(self, text: str) -> set[int]:
        """The numbers of the classes that `text` names, upper or lower case. Raises UnknownNameError."""
        numbers = {name.lower(): number for number, name in enumerate(self._classes)}
        found = set()
        for entity in text.split(" . "):
            number = numbers.get(entity.strip(" .").lower())
            if number is None:
                raise UnknownNameError.among("class", entity, self._classes, "or use an open-vocabulary detector")
            found.add(number)
        return found

    def _found(self, image: Image, text: str | None) -> Prompts:
        from mmdet.apis import inference_detector

        if self._open and text is None:
            raise InputError("mmdet: this detector finds what is named; add text=…, such as text=cat . dog")
        wanted = None if self._open or text is None else self._classes_of(text)
        backwards = np.ascontiguousarray(image.pixels[:, :, ::-1])  # MMDetection takes arrays as BGR
        with self._lock:
            named = {"text_prompt": text, "custom_entities": True} if self._open else {}
            sample = inference_detector(self._model, backwards, **named)
        predicted = sample.pred_instances.cpu()
        boxes = np.clip(predicted.bboxes.numpy(), 0, [image.width, image.height] * 2).astype(np.float32)
        scores = predicted.scores.numpy()
        order = np.argsort(-scores, kind="stable")
        good = (scores >= self._threshold) & (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        if wanted is not None:
            good &= np.isin(predicted.labels.numpy(), sorted(wanted))
        order = order[good[order]]
        return Prompts.from_boxes(boxes[order], labels=[self._label(predicted, row) for row in order])

    def _label(self, predicted: Any, row: int) -> str:
        if "label_names" in predicted:  # of an open vocabulary
            return str(predicted.label_names[row]).strip()  # it leaves the spaces around separators
        number = int(predicted.labels[row])
        return self._classes[number] if number < len(self._classes) else str(number)
