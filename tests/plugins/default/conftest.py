"""The embedded segmenter, loaded once, and a few real photos with masks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar import Image
from samovar_plugins.default.segmenter import DefaultSegmenter, load
from tests.plugins.default.photos import Known


@pytest.fixture(scope="session")
def segmenter() -> DefaultSegmenter:
    """The segmenter as `samovar.load("default")` makes it."""
    return load("default", weights=None, device="cpu", dtype="auto")


@pytest.fixture(scope="session")
def known(segmenter: DefaultSegmenter, data_folder: Path) -> list[Known]:
    """Eight photos of the half that the segmenter was not fitted on, six masks each at most."""
    mask = pytest.importorskip("pycocotools.mask", reason="pycocotools decodes the true masks")
    index: dict[str, Any] = json.loads((data_folder / "masks" / "index.json").read_text())
    records: dict[int, list[dict[str, Any]]] = {}
    for record in index["masks"]:
        if index["images"][record["image"]]["subset"] == "bsdstr":
            records.setdefault(record["image"], []).append(record)
    out = []
    for number in sorted(records)[::15]:
        chosen = records[number][:6]
        image = Image(data_folder / "masks" / index["images"][number]["file"])
        rles = [{"size": r["rle"]["size"], "counts": r["rle"]["counts"].encode()} for r in chosen]
        truths = np.stack([mask.decode(rle) > 0 for rle in rles])
        boxes = np.array([r["box"] for r in chosen], np.float32)
        out.append(Known(image, segmenter.encode([image])[0], truths, boxes))
    return out
