"""MMOCR: a real DBNet and a real recogniser, of random weights, and what they would give with good ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmocr.structures import TextDetDataSample

from samovar import Image
from samovar.errors import InputError
from samovar.loading import open_source
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.mmocr import lines_of
from samovar_adapters.mmocr.source import MmocrText
from samovar_adapters.ocr import to_prompts
from tests.openmmlab.detectors import write_dbnet

ARC = [10, 60, 50, 20, 90, 60, 80, 70, 50, 40, 20, 70]  # a word bent upwards, as its detectors outline it


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The config and checkpoint of a DBNet."""
    folder = tmp_path_factory.mktemp("mmocr")
    write_dbnet(folder)
    return f"{folder / 'dbnet.py'},det_weights={folder / 'dbnet.pth'},score_thr=0"


class TestMmocrText(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box", "points")

    @pytest.fixture
    def source(self, detector: str) -> MmocrText:
        return MmocrText(detector)

    @pytest.fixture
    def images(self, photo: Path) -> list[Image]:
        return [Image(photo), Image(np.full((60, 90, 3), 90, np.uint8))]


def test_what_the_detector_outlines_becomes_prompts(detector: str, photo: Path) -> None:
    (prompts,) = open_source(f"mmocr:{detector}").prompts([Image(photo)])
    assert len(prompts) > 0
    assert set(prompts.labels) == {"text"}


def test_curved_text_of_a_data_sample_gets_points_along_its_bend() -> None:
    sample = TextDetDataSample()
    sample.pred_instances = InstanceData(polygons=[np.array(ARC, float)], scores=torch.tensor([0.8]))
    (line,) = lines_of(sample)
    assert line.score == pytest.approx(0.8)
    (prompt,) = to_prompts([line], 100, 100)
    assert prompt.points is not None
    assert len(prompt.points) >= 3
    assert prompt.points[len(prompt.points) // 2, 1] < prompt.points[0, 1] - 10, "higher in the middle"


@pytest.mark.parametrize(
    "prediction",
    [
        {"det_polygons": [ARC], "det_scores": [0.8], "rec_texts": ["tea"], "rec_scores": [0.9]},
        {"polygons": [ARC], "scores": [0.8], "texts": ["tea"]},
        InstanceData(polygons=[np.array(ARC, float)], scores=torch.tensor([0.8]), texts=["tea"]),
    ],
    ids=["MMOCRInferencer", "TextDetInferencer", "a text spotter"],
)
def test_strings_and_scores_ride_along(prediction: object) -> None:
    (line,) = lines_of(prediction)
    assert (line.text, round(line.score, 3)) == ("tea", 0.8)
    assert len(line.polygon) == 6


def test_without_text_there_are_no_lines() -> None:
    assert lines_of({"polygons": [], "scores": []}) == []


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (None, "mmocr needs a det; write it as in mmocr:DET"),
        ("a.py,score_thr=high", "score_thr must be between 0 and 1; got 'high'"),
        ("nowhere.py", r"nowhere\.py does not make a text detector"),
    ],
)
def test_a_bad_argument_is_one_line(argument: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        MmocrText(argument)
