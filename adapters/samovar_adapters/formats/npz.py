"""NumPy archives: everything that is known of the masks, exactly, to be read back without Samovar if need be."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samovar.errors import MaskError
from samovar_adapters.formats.sink import ImageFileSink

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks

__all__ = ["NpzSink", "read_masks"]


class NpzSink(ImageFileSink):
    """A compressed `.npz` for every image, with the masks' bits packed inside their boxes. `read_masks` reads it back.

    Arrays in it:
        size: 2 int64, width and height of the image in pixels.
        boxes: N×4 int32, x1 y1 x2 y2 in whole pixels, right and bottom exclusive; 0 0 0 0 for an empty mask.
        bits: uint8; mask i is bits[offsets[i]:offsets[i + 1]], its box row by row, leftmost pixel in the highest bit.
        offsets: N+1 int64.
        scores: N float32. prompt_index: N int64.
        labels, ids: text, a JSON list of N each.
        logits: N×h×w float32, and stability: N float32, where the masks have them.
    """

    name = "npz"
    suffix = ".npz"

    def encode(self, key: str, image: Image, masks: Masks) -> bytes:
        """The archive's bytes: the same for the same masks."""
        packed = [np.packbits(crop) for crop, _, _ in masks.crops()]
        arrays: dict[str, Any] = {
            "size": np.array([masks.width, masks.height], np.int64),
            "boxes": masks.boxes.astype(np.int32),
            "bits": np.concatenate([np.zeros(0, np.uint8), *packed]),
            "offsets": np.cumsum([0, *map(len, packed)], dtype=np.int64),
            "scores": masks.scores,
            "prompt_index": masks.prompt_index,
            "labels": np.array(json.dumps(masks.labels)),
            "ids": np.array(json.dumps(masks.ids)),
        }
        if masks.logits is not None:
            arrays["logits"] = masks.logits
        if masks.stability is not None:
            arrays["stability"] = masks.stability
        data = io.BytesIO()
        np.savez_compressed(data, **arrays)
        return data.getvalue()


def read_masks(path: str | os.PathLike[str]) -> Masks:
    """The masks of a file that `NpzSink` wrote, exactly as they were.

    Raises:
        MaskError: the file is missing, torn, or not one of these.
    """
    from samovar.masks import Masks

    place = Path(path)
    try:
        # Opened here: NumPy leaves a file that is no archive open.
        with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        width, height = found["size"].tolist()
        bits, offsets, boxes = found["bits"], found["offsets"].tolist(), found["boxes"]
        crops = []
        for (x1, y1, x2, y2), start, stop in zip(boxes.tolist(), offsets, offsets[1:]):
            shape = y2 - y1, x2 - x1
            if stop - start != -(-shape[0] * shape[1] // 8) or stop > len(bits):
                raise ValueError(f"{stop - start} bytes for a mask of {shape[1]}×{shape[0]} pixels")
            crops.append(np.unpackbits(bits[start:stop], count=shape[0] * shape[1]).reshape(shape).astype(bool))
        return Masks.from_crops(crops, boxes[:, :2], width, height).replace(
            scores=found["scores"],
            prompt_index=found["prompt_index"],
            labels=json.loads(str(found["labels"])),
            ids=json.loads(str(found["ids"])),
            logits=found.get("logits"),
            stability=found.get("stability"),
        )
    except (OSError, EOFError, KeyError, TypeError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise MaskError(f"{place}: expected masks that the npz sink wrote; got {error}; write them again") from error
