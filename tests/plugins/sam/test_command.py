"""`samovar segment` with a checkpoint as its authors publish it, and nothing else said about the model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from samovar.cli.main import main
from samovar_plugins.sam2.plugin import MODELS
from tests.plugins.edge_tam.weights import PUBLISHED
from tests.plugins.edge_tam.weights import random_weights as edge_weights
from tests.plugins.sam.golden_cases import SIZES
from tests.plugins.sam.weights import MOBILE, random_weights
from tests.plugins.sam2.weights import Sizes as Sizes2
from tests.plugins.sam2.weights import random_weights as weights2

pytestmark = pytest.mark.slow

CHECKPOINTS: dict[str, Callable[[], dict[str, Any]]] = {
    "mobile_sam.pt": lambda: random_weights("mobile-sam", MOBILE),
    "sam_hq_vit_tiny.pth": lambda: random_weights("sam-hq-tiny", MOBILE),
    "efficient_sam_vitt.pt": lambda: {"model": random_weights("efficient-sam", SIZES["efficient-sam-ti"])},
    "sam2.1_hiera_tiny.pt": lambda: {"model": weights2(Sizes2(1024, 256, 96, MODELS[0].layout, 7, 2048))},
    "edgetam.pt": lambda: {"model": edge_weights(PUBLISHED, 256, 2048)},
}
"""The small ones, at full size."""


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_published_checkpoint_segments_a_photo(name: str, tmp_path: Path, photo: Path) -> None:
    checkpoint, out = tmp_path / name, tmp_path / "masks.json"
    torch.save(CHECKPOINTS[name](), checkpoint)
    given = ["segment", str(photo), "--model", str(checkpoint), "--device", "cpu", "--cache", "off"]
    wanted = ["--box", "150,80,420,330", "--point", "300,200", "--format", "coco", "--out", str(out)]
    with pytest.raises(SystemExit) as stopped:
        main([*given, *wanted])
    assert stopped.value.code == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert (written["images"][0]["width"], written["images"][0]["height"]) == (600, 400)
