"""Real detectors of MMDetection, of random weights, as sources of prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from mmdet.apis import init_detector
from mmengine.hub import get_config
from mmengine.logging import HistoryBuffer

import samovar
from samovar import Image, Prompt, Prompts
from samovar.errors import InputError, SamovarError, UnknownNameError
from samovar.loading import open_source
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.mmdet.source import DetectorBoxes
from tests.commands import status_of
from tests.openmmlab.dataset import CocoSet
from tests.openmmlab.detectors import loosen, write_grounding_dino, write_rtmdet


@pytest.fixture(scope="module")
def rtmdet(coco: CocoSet, tmp_path_factory: pytest.TempPathFactory) -> str:
    """`mmdet:` and the config and checkpoint of an RTMDet."""
    folder = tmp_path_factory.mktemp("rtmdet")
    write_rtmdet(folder, coco)
    return f"mmdet:{folder / 'rtmdet.py'},{folder / 'rtmdet.pth'},score_thr=0.0"


class TestDetectorBoxes(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box",)

    @pytest.fixture
    def source(self, rtmdet: str) -> DetectorBoxes:
        return DetectorBoxes(rtmdet.partition(":")[2])

    @pytest.fixture
    def images(self, photo: Path) -> list[Image]:
        return [Image(photo), Image(np.zeros((40, 60, 3), np.uint8))]


def test_boxes_come_best_first_with_the_names_of_their_classes(rtmdet: str, photo: Path) -> None:
    (prompts,) = open_source(rtmdet).prompts([Image(photo)])
    assert 0 < len(prompts) <= 300
    assert set(prompts.labels) <= {"thing", "segment"}


def test_a_closed_vocabulary_answers_with_the_class_of_that_name(rtmdet: str, photo: Path) -> None:
    source = open_source(rtmdet)
    everything = source.prompts([Image(photo)])[0]
    asked = [Prompts.of([Prompt(text="Segment", label="part", id=7)])]
    (found,) = source.prompts([Image(photo)], asked)
    assert len(found) == everything.labels.count("segment") > 0
    assert set(found.labels) == {"part"}
    assert set(found.ids) == {7}
    with pytest.raises(UnknownNameError, match=r"unknown class 'zebra'; known: segment, thing; .* open-vocabulary"):
        source.prompts([Image(photo)], [Prompts.of([Prompt(text="zebra")])])


def test_words_given_with_a_closed_vocabulary_choose_among_its_classes(rtmdet: str, photo: Path) -> None:
    counts = [
        open_source(f"{rtmdet}{text}").prompts([Image(photo)])[0].labels.count("segment")
        for text in (
            "",
            ",text=segment",
            ",text=Thing . segment",
            ",text=thing.  segment.",
            ",text=thing, segment",
            ",text=thing",
        )
    ]
    assert counts[0] == counts[1] == counts[2] == counts[3] == counts[4] > counts[5] == 0
    with pytest.raises(UnknownNameError, match="unknown class 'zebra'"):
        DetectorBoxes(f"{rtmdet.partition(':')[2]},text=thing . zebra")


def test_a_model_of_mmdetections_zoo_is_called_by_its_name(tmp_path: Path, photo: Path) -> None:
    config = get_config("mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py")
    config.model.backbone.init_cfg = None
    config.dump(str(tmp_path / "zoo.py"))
    torch.manual_seed(0)
    model = init_detector(config, device="cpu")
    loosen(model)
    torch.save({"state_dict": model.state_dict(), "meta": {"dataset_meta": model.dataset_meta}}, tmp_path / "zoo.pth")
    found = [
        open_source(f"mmdet:{name},{tmp_path / 'zoo.pth'},score_thr=0.0").prompts([Image(photo)])[0]
        for name in ("rtmdet_tiny_8xb32-300e_coco", tmp_path / "zoo.py")
    ]
    assert found[0].labels == found[1].labels != ()
    assert np.array_equal(found[0].boxes, found[1].boxes)
    with pytest.raises(InputError, match="no-such-model does not make a detector"):
        open_source("mmdet:no-such-model")


def test_a_checkpoint_that_holds_more_than_tensors_says_what_to_do(rtmdet: str, tmp_path: Path) -> None:
    """What MMEngine's runner saves while it trains."""
    config = rtmdet.partition(":")[2].partition(",")[0]
    torch.save({"state_dict": {}, "message_hub": HistoryBuffer([1.0], [1])}, tmp_path / "epoch_1.pth")
    with pytest.raises(InputError, match=r"epoch_1\.pth .* holds more than tensors, .*set TORCH_FORCE_NO_WEIGHTS"):
        DetectorBoxes(f"{config},{tmp_path / 'epoch_1.pth'}")


def test_from_the_command_line_predicted_boxes_become_masks(rtmdet: str, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    few = rtmdet.replace(",score_thr=0.0", "")
    assert status_of("run", str(photo), "--source", few, "--sink", f"coco={out}") == 0
    assert {category["name"] for category in json.loads(out.read_text())["categories"]} <= {"thing", "segment"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (None, "mmdet needs a config; write it as in mmdet:CONFIG"),
        ("a.py,b.pth,c.pth", "at most 2 parts without a name"),
        ("a.py,txt=cat", r"unknown setting 'txt'; did you mean text\?"),
        ("a.py,score_thr=high", "score_thr must be between 0 and 1; got 'high'"),
        ("a.py,device=abacus", "unknown device 'abacus'; expected auto, cpu, cuda"),
        ("nowhere.py", r"nowhere\.py does not make a detector"),
    ],
)
def test_a_bad_argument_is_one_line(argument: str | None, message: str) -> None:
    with pytest.raises(SamovarError, match=message) as caught:
        DetectorBoxes(argument)
    assert "\n" not in str(caught.value)


def test_a_detector_without_a_checkpoint_is_said_to_be_untrained(
    tmp_path: Path, coco: CocoSet, caplog: pytest.LogCaptureFixture
) -> None:
    write_rtmdet(tmp_path, coco)
    DetectorBoxes(str(tmp_path / "rtmdet.py"))
    assert [record.message for record in caplog.records if record.name == "samovar.mmdet"] == [
        f"mmdet: no checkpoint after {tmp_path / 'rtmdet.py'}; what it finds is by untrained weights"
    ]


# ---------------------------------------------------------------------------------------------- an open vocabulary


@pytest.fixture(scope="module")
def grounding_dino(tmp_path_factory: pytest.TempPathFactory) -> str:
    """`mmdet:` and the config of a Grounding DINO."""
    folder = tmp_path_factory.mktemp("grounding-dino")
    write_grounding_dino(folder)
    return f"mmdet:{folder / 'grounding_dino.py'},{folder / 'grounding_dino.pth'},score_thr=0.0"


def test_an_open_vocabulary_is_asked_in_words(grounding_dino: str, photo: Path) -> None:
    """From the text of a prompt to masks, the detector between them: `--text` with a model that takes boxes."""
    source = open_source(grounding_dino)
    sam = samovar.load("default", cache="off", converters=[source])
    masks = sam.segment(photo, [Prompt(text="a red cup", label="cup"), Prompt(text="cat", id=3)])
    assert set(masks.labels) == {"cup", None}
    assert set(masks.ids) == {None, 3}
    assert 2 <= len(masks) <= 60, "at no threshold the thirty queries answer both"


def test_words_may_be_given_with_the_detector(grounding_dino: str, photo: Path) -> None:
    (prompts,) = open_source(f"{grounding_dino},text=cat . dog").prompts([Image(photo)])
    assert set(prompts.labels) <= {"cat", "dog"}
    with pytest.raises(InputError, match="finds what is named; add text="):
        open_source(grounding_dino).prompts([Image(photo)])
