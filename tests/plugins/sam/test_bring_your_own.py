"""The package that docs/how-to/bring-your-own-sam.md shows, used as it says there."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import samovar
from samovar.plugins import override_plugins, register
from samovar.protocols import Segmenter
from samovar.testing import SegmenterTests
from tests.conftest import ROOT
from tests.plugins.sam.weights import random_weights

pytestmark = pytest.mark.slow

PACKAGE = ROOT / "docs" / "how-to" / "samovar-conv-sam"


def weights(encoder: int = 0, decoder: int = 0) -> dict[str, torch.Tensor]:
    """A checkpoint for it: SAM's decoder, and an encoder of four convolutions."""
    made = random_weights("sam", seed=decoder)
    found = {name: tensor for name, tensor in made.items() if not name.startswith("image_encoder.")}
    generator = torch.Generator().manual_seed(encoder)
    for index, (inputs, outputs) in enumerate([(3, 8), (8, 16), (16, 32), (32, 32)]):
        noise = torch.randn(outputs, inputs, 3, 3, generator=generator)
        found[f"image_encoder.{index}.weight"] = noise / math.sqrt(inputs * 9)
        found[f"image_encoder.{index}.bias"] = torch.zeros(outputs)
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Segmenter]:
    """The model, found by its entry point's module and loaded by its name."""
    path = tmp_path_factory.mktemp("weights") / "conv_sam.pth"
    torch.save(weights(), path)
    sys.path.insert(0, str(PACKAGE))
    try:
        with override_plugins():
            register(import_module("samovar_conv_sam.plugin"), "conv-sam")
            yield samovar.load("conv-sam", weights=path, device="cpu", cache="off").segmenter
    finally:
        sys.path.remove(str(PACKAGE))


class TestConvSam(SegmenterTests):
    # A product of matrices rounds differently when it has more rows.
    tolerance: ClassVar[float] = 1e-5
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self, installed: Segmenter) -> Segmenter:
        return installed

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> Segmenter:
        torch.save(weights(encoder, decoder), path)
        return samovar.load("conv-sam", weights=path, device="cpu", cache="off").segmenter


def test_the_package_has_fewer_than_sixty_lines_of_code() -> None:
    files = sorted((PACKAGE / "samovar_conv_sam").glob("*.py"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) < 60


def test_the_page_shows_the_files_that_are_tested() -> None:
    page = Path(ROOT / "docs" / "how-to" / "bring-your-own-sam.md").read_text(encoding="utf-8")
    for file in ("pyproject.toml", "samovar_conv_sam/plugin.py", "samovar_conv_sam/model.py"):
        assert f'--8<-- "docs/how-to/samovar-conv-sam/{file}"' in page
