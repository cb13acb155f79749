"""The original image that a prediction belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import ImageError, InputError
from samovar.image import Image

__all__ = ["images_of"]


def images_of(samples: Sequence[Any], inputs: Any, preprocessor: Any) -> list[Image]:
    """The images of a batch of `DetDataSample`s: their files where they have some, else what the detector was shown.

    Args:
        inputs: B×3×H×W, the batch as the detector's network got it, or None if it is not at hand.
        preprocessor: the `DetDataPreprocessor` that made it.

    Raises:
        InputError: a sample without a file, of a batch that is not at hand or was turned or cropped.
        ImageError: a file that cannot be read again.
    """
    return [
        _of_file(sample) or _of_inputs(sample, number, inputs, preprocessor) for number, sample in enumerate(samples)
    ]


def _of_file(sample: Any) -> Image | None:
    path = sample.get("img_path")
    if not path:
        return None
    if Path(path).is_file():
        return Image(path)
    from mmengine import fileio  # whatever storage the data set lies in

    try:
        return Image(fileio.get(path), name=str(path))
    except OSError as error:
        raise ImageError(f"{path}: the detector saw it, but it cannot be read again: {error}") from error


def _of_inputs(sample: Any, number: int, inputs: Any, preprocessor: Any) -> Image:
    """The detector's own input with padding, normalisation and resizing undone: an array has no file to go back to."""
    height, width = sample.ori_shape[:2]
    if inputs is None or sample.get("flip"):
        raise InputError(
            f"prediction {number} has no img_path and its picture is not at hand; "
            'expected "img_path" among the meta_keys of PackDetInputs; add it to the test pipeline'
        )
    across, down = sample.get("scale_factor") or (1.0, 1.0)
    columns, rows = round(width * across), round(height * down)  # not img_shape, which counts padding in
    pixels = inputs[number, :, :rows, :columns].detach().float().cpu().numpy()
    if getattr(preprocessor, "_enable_normalize", False):
        pixels = pixels * preprocessor.std.cpu().numpy() + preprocessor.mean.cpu().numpy()
    shown = pixels.round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
    if not getattr(preprocessor, "_channel_conversion", False):
        shown = shown[:, :, ::-1]  # MMDetection reads BGR
    resized: NDArray[np.uint8] = np.ascontiguousarray(shown)
    if (rows, columns) != (height, width):
        how = cv2.INTER_AREA if rows > height else cv2.INTER_LINEAR
        resized = np.asarray(cv2.resize(resized, (width, height), interpolation=how), np.uint8)
    return Image(resized, name=f"picture {number} of the batch")
