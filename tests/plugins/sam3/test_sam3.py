"""What SAM 3 does with prompts of both kinds, and with its folder of weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import samovar
from samovar import Prompt
from samovar.errors import MissingExtraError, PromptError, WeightsError
from samovar.plugins import identify_weights, list_segmenters
from samovar.testing import SegmenterTests
from samovar_plugins.sam3.detector import roi_align
from samovar_plugins.sam3.plugin import FAMILY, detect
from samovar_plugins.sam3.segmenter import Sam3Segmenter
from samovar_plugins.toolkit import SamSegmenter
from tests.plugins.sam3.tiny import loaded, reference, save

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(reference(), tmp_path_factory.mktemp("sam3"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Sam3Segmenter:
    return loaded(folder)


class TestVisualPrompts(SegmenterTests):
    """The contract, for prompts that show where; a text may have any number of masks."""

    tolerance: ClassVar[float] = 1e-4
    agreement: ClassVar[float] = 0.98

    @pytest.fixture
    def segmenter(self, model: Sam3Segmenter) -> SamSegmenter:
        return model.visual

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> SamSegmenter:
        model, head = reference(encoder), "tracker_model.mask_decoder.transformer."
        ours, theirs = model.state_dict(), reference(decoder).state_dict()
        model.load_state_dict({name: (theirs if name.startswith(head) else ours)[name] for name in ours})
        return loaded(save(model, path)).visual


def test_a_folder_of_hugging_face_is_recognised_and_answers(folder: Path, photo: Path) -> None:
    assert identify_weights(folder) == "sam3"
    runtime = samovar.load(folder, device="cpu", cache="off")
    prompts = [
        Prompt(text="bright thing", label="things", id=7),
        Prompt(box=(150, 80, 420, 330), id="boxed"),
        Prompt(text="a rectangle"),
    ]
    masks = runtime.segment(photo, prompts)
    counts = np.bincount(masks.prompt_index, minlength=3)
    assert counts[1] == 1
    assert counts[0] > 1
    assert masks.prompt_index.tolist() == sorted(masks.prompt_index.tolist())
    assert set(masks[: counts[0]].labels) == {"things"}
    assert set(masks[: counts[0]].ids) == {7}
    scores = masks[: counts[0]].scores
    assert (np.diff(scores) <= 0).all()
    assert ((scores > 0.3) & (scores <= 1)).all()


def test_points_beside_a_text_are_an_example_too(model: Sam3Segmenter, photo: Path) -> None:
    runtime = samovar.Runtime(model)
    clicked = Prompt(text="a thing", points=[[300, 200]])
    (shown,) = runtime.segment(photo, Prompt(points=[[300, 200]]))
    same = runtime.segment(photo, Prompt(text="a thing", box=shown.boxes[0]))
    assert np.allclose(runtime.segment(photo, clicked).scores, same.scores)


def test_instances_carry_logits_and_stability_when_asked_for(model: Sam3Segmenter, photo: Path) -> None:
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions

    embeddings = model.encode([samovar.Image(photo)])
    prompts = Prompts.of([Prompt(text="a thing"), Prompt(box=(150, 80, 420, 330))])
    (masks,) = model.decode(embeddings, [prompts], DecodeOptions(logits=True, stability_offset=1.0))
    assert masks.logits is not None
    assert masks.logits.shape == (len(masks), 32, 32)
    assert masks.stability is not None
    assert ((masks.stability >= 0) & (masks.stability <= 1)).all()
    again = samovar.Runtime(model).segment(photo, samovar.Prompt.from_mask(masks[0]))
    assert len(again) == 1


def test_nothing_found_is_no_masks(model: Sam3Segmenter, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar_plugins.sam3.detector.KEPT", 1.0)
    assert len(samovar.Runtime(model).segment(photo, Prompt(text="a thing"))) == 0


def test_a_text_that_is_too_long_is_refused(model: Sam3Segmenter, photo: Path) -> None:
    with pytest.raises(PromptError, match="at most 30 tokens; got 31"):
        samovar.Runtime(model).segment(photo, Prompt(text="thing " * 31))


def test_without_its_tokenizer_only_text_is_refused(folder: Path, tmp_path: Path, photo: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(folder / name, tmp_path / name)
    model = FAMILY.load("sam3", weights=str(tmp_path / "model.safetensors"), device="cpu", dtype="float32")
    runtime = samovar.Runtime(model)
    assert len(runtime.segment(photo, Prompt(box=(150, 80, 420, 330)))) == 1
    with pytest.raises(WeightsError, match=r"expected .*tokenizer\.json for text prompts; it is missing"):
        runtime.segment(photo, Prompt(text="a thing"))


def test_meta_s_own_file_is_named_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "sam3.pt"
    torch.save({"model": {"detector.backbone.x": torch.zeros(1), "tracker.y": torch.zeros(1)}}, path)
    with pytest.raises(WeightsError, match="looks like a SAM 3 checkpoint under Meta's names"):
        FAMILY.load("sam3", weights=str(path), device="cpu", dtype="auto")


def test_a_torn_file_is_named(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) - 1000])
    with pytest.raises(WeightsError, match=r"is torn: it ends after .*; it looks like sam3; download it again"):
        FAMILY.load("sam3", weights=str(tmp_path), device="cpu", dtype="auto")


def test_the_spec_says_that_it_is_gated_and_where_to_ask() -> None:
    (spec,) = [spec for spec in list_segmenters() if spec.name == "sam3"]
    assert spec.gated
    assert "https://huggingface.co/facebook/sam3" in spec.summary
    assert spec.prompts == {"points", "box", "mask", "text"}


def test_other_checkpoints_are_described() -> None:
    assert detect({"unet.x": (1,)}) is None


def test_a_missing_transformers_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "samovar_plugins.sam3.detector", raising=False)
    with pytest.raises(MissingExtraError, match=r'needs transformers: pip install "samovar\[sam3\]"'):
        samovar.load("sam3", weights=folder, device="cpu")


def sampled(features: torch.Tensor, box: Any, size: int) -> torch.Tensor:
    """RoIAlign by its definition, sample by sample."""
    height, width = features.shape[-2:]
    x1, y1, x2, y2 = box
    tall, wide = max(y2 - y1, 1.0) / size, max(x2 - x1, 1.0) / size
    down, across = int(np.ceil(tall)), int(np.ceil(wide))
    found = torch.zeros(len(features), size, size)
    for row in range(size):
        for column in range(size):
            for i in range(down):
                for j in range(across):
                    y = y1 + row * tall + (i + 0.5) * tall / down
                    x = x1 + column * wide + (j + 0.5) * wide / across
                    if y < -1 or y > height or x < -1 or x > width:
                        continue
                    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
                    top, left = int(y), int(x)
                    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
                    v, u = y - top, x - left
                    upper = features[:, top, left] * (1 - u) + features[:, top, right] * u
                    lower = features[:, bottom, left] * (1 - u) + features[:, bottom, right] * u
                    found[:, row, column] += (upper * (1 - v) + lower * v) / (down * across)
    return found


@pytest.mark.parametrize("box", [(1.2, 0.7, 6.9, 5.1), (3.0, 3.0, 3.2, 3.1), (-0.5, 2.0, 9.0, 8.6), (0, 0, 9, 8)])
def test_roi_align_equals_its_definition(box: tuple[float, ...]) -> None:
    features = torch.randn(3, 8, 9, generator=torch.Generator().manual_seed(0))
    got = roi_align(features, torch.tensor([box]), 3)
    assert torch.allclose(got[0], sampled(features, box, 3), atol=1e-5)
