"""MMDetection 3.3 and MMOCR 1.0, of 2023, beside the torch and NumPy of today: what they lack is put in place here.

The product needs none of this; people who have a working OpenMMLab environment have what these lines stand for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

# torchvision's compiled operators are for torch's CUDA builds; beside others these two declarations let it be imported.
if torch.version.cuda is None:
    _torchvision = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _torchvision.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

# imgaug 0.4, which MMOCR imports, reads this table; NumPy 2 has none.
vars(np).setdefault(
    "sctypes",
    {
        "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64],
        "float": [np.float16, np.float32, np.float64],
        "complex": [np.complex64, np.complex128],
        "others": [bool, object, bytes, str, np.void],
    },
)

import mmdet  # noqa: E402

# MMOCR 1.0.1 was released before MMDetection 3.3 and refuses what it does not know.
_version, mmdet.__version__ = mmdet.__version__, "3.1.0"
import mmocr  # noqa: E402, F401

mmdet.__version__ = _version

from samovar.plugins import SegmentEvent, hookimpl, register  # noqa: E402
from tests.openmmlab.dataset import CocoSet, write_coco_set  # noqa: E402


class Watch:
    """What the runtime did."""

    def __init__(self) -> None:
        self.events: list[SegmentEvent] = []

    @hookimpl
    def after_segment(self, event: SegmentEvent) -> None:
        self.events.append(event)

    @property
    def encoded(self) -> int:
        return sum(event.encoded for event in self.events)


@pytest.fixture(scope="session")
def registered() -> Watch:
    watch = Watch()
    register(watch, "watch")
    return watch


@pytest.fixture
def watch(registered: Watch) -> Watch:
    """The events of one test."""
    registered.events.clear()
    return registered


@pytest.fixture(scope="session")
def coco(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> CocoSet:
    """Twenty photographs with known masks, as a COCO data set."""
    return write_coco_set(tmp_path_factory.mktemp("coco"), data_folder, images=20)


@pytest.fixture
def new_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    monkeypatch.setenv("SAMOVAR_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
