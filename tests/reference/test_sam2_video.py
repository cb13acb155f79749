"""The memory tracker against the video predictor of the package `sam2`: same random weights, frame by frame.

Small frames (256 pixels instead of 1,024) so that it takes a minute on a CPU; nothing else of the model is changed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2", reason="nox -s reference installs the package to compare with")

import torch
from PIL import Image as Pillow
from sam2.build_sam import build_sam2_video_predictor

from samovar import Image, Masks, Prompt
from samovar.errors import InputError, PromptError
from samovar.tracking import Tracker
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.plugin import MODELS
from samovar_plugins.sam2.video import memory_tracker
from samovar_plugins.toolkit import SamSegmenter, assemble
from tests.adapters.video.clips import ball, clip, meadow

SIDE, COUNT = 256, 20
FRAMES, TRUTH = clip(meadow(320, 240), [ball((210, 50, 40), 30), ball((50, 80, 220), 40)],
                     lambda n: [(60 + 8 * n, 90), (240 - 6 * n, 140)], COUNT)  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> Any:
    """Meta's predictor with random weights: its own initialisation makes every mask alike, so they are spread."""
    torch.manual_seed(5)
    overrides = [f"++model.image_size={SIDE}", "++model.binarize_mask_from_pts_for_mem_enc=true"]
    overrides += [f"++model.memory_attention.layer.self_attention.feat_sizes=[{SIDE // 16},{SIDE // 16}]"]
    overrides += [f"++model.memory_attention.layer.cross_attention.feat_sizes=[{SIDE // 16},{SIDE // 16}]"]
    dynamic = "++model.sam_mask_decoder_extra_args"
    overrides += [f"{dynamic}.dynamic_multimask_via_stability=true"]
    overrides += [
        f"{dynamic}.dynamic_multimask_stability_delta=0.05",
        f"{dynamic}.dynamic_multimask_stability_thresh=0.98",
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = build_sam2_video_predictor(
            "configs/sam2.1/sam2.1_hiera_t.yaml", None, device="cpu", hydra_overrides_extra=overrides,
            apply_postprocessing=False,
        )  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name and not name.endswith("gamma"):
                parameter += 0.02 * torch.randn_like(parameter)
        model.memory_encoder.fuser.layers[0].gamma.fill_(0.3)
        # Random object scores hover about zero, where a rounding error hides an object in one of the two.
        model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(4)
    return model


@pytest.fixture
def ours(reference: Any) -> MemoryTracker:
    tensors, layout = reference.state_dict(), next(model.layout for model in MODELS if model.name == "sam2.1-tiny")
    encoder = assemble("sam2", lambda given: build_sam2(layout, given.state, SIDE), tensors)
    assert isinstance(encoder, SamSegmenter)
    return memory_tracker(lambda: tensors, encoder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frames as the reference reads them, and as we then get them: from the same JPEG files."""
    path = tmp_path_factory.mktemp("frames")
    for number, frame in enumerate(FRAMES):
        Pillow.fromarray(frame.pixels).save(path / f"{number:05d}.jpg", quality=95)
    return path


def frames(folder: Path) -> list[Image]:
    return [Image(path) for path in sorted(folder.iterdir())]


def meta_logits(state: Any, number: int) -> list[np.ndarray]:
    """The reference's small masks of a frame, an object after the other."""
    rows = []
    for index in range(len(state["obj_ids"])):
        for kinds in (state["temp_output_dict_per_obj"], state["output_dict_per_obj"]):
            kept = kinds[index]
            out = kept["cond_frame_outputs"].get(number) or kept["non_cond_frame_outputs"].get(number)
            if out is not None:
                rows.append(out["pred_masks"][0, 0].float().numpy())
                break
    return rows


def propagate(reference: Any, state: Any, first: int, last: int) -> Iterator[int]:
    for number, _, _ in reference.propagate_in_video(state, first, last - first):
        yield number


def equal(ours: MemoryTracker, state: Any, number: int) -> None:
    mine, theirs = list(ours.logits().values()), meta_logits(state, number)
    assert len(mine) == len(theirs)
    for index, (one, other) in enumerate(zip(mine, theirs)):
        assert np.abs(one - other).max() <= 1e-3, f"object {index} in frame {number}"


def test_it_is_a_tracker(ours: MemoryTracker) -> None:
    assert isinstance(ours, Tracker)


def test_clicks_boxes_masks_late_objects_and_corrections(reference: Any, ours: MemoryTracker, folder: Path) -> None:
    """Two objects from the start, a third from frame 6 on, a click that corrects the first in frame 12."""
    images = frames(folder)
    state = reference.init_state(str(folder), offload_video_to_cpu=True)
    reference.add_new_points_or_box(state, 0, 1, points=[[60, 90], [200, 20]], labels=[1, 0])
    reference.add_new_points_or_box(state, 0, 2, box=[200, 100, 280, 180])
    ours.start(
        images[0],
        [Prompt(points=[[60, 90], [200, 20]], point_labels=[1, 0], id=1), Prompt(box=(200, 100, 280, 180), id=2)],
    )
    equal(ours, state, 0)
    spread = np.std(ours.logits()[1])
    for number in propagate(reference, state, 0, 6):
        if number:
            ours.step(images[number])
        equal(ours, state, number)
    assert spread > 0.05, "masks of random weights must not all be flat"

    reference.add_new_mask(state, 6, 3, TRUTH[6][1])
    ours.add(Prompt(mask=Masks.from_array(TRUTH[6][1][None]), id=3))
    equal(ours, state, 6)
    for number in propagate(reference, state, 6, 12):
        if number > 6:
            ours.step(images[number])
            equal(ours, state, number)

    reference.add_new_points_or_box(state, 12, 1, points=[[150, 95]], labels=[1])
    ours.correct(1, Prompt(points=[[150, 95]]))
    equal(ours, state, 12)
    # From 13: from 12 on, the reference would track frame 12 again and forget the correction.
    for number in propagate(reference, state, 13, COUNT - 1):
        masks = ours.step(images[number])
        equal(ours, state, number)
    assert masks.ids == (1, 2, 3)


def test_memory_stays_flat(ours: MemoryTracker) -> None:
    ours.start(FRAMES[0], Prompt(box=(30, 60, 90, 120)))
    sizes = []
    for number in range(36):
        ours.step(FRAMES[number % COUNT])
        kept = ours._session.output_dict_per_obj[0]["non_cond_frame_outputs"]
        sizes.append(sum(value.nbytes for out in kept.values() for value in out.values() if torch.is_tensor(value)))
    assert sizes[-1] == sizes[20]
    assert len(ours._session.cache._vision_features) == 1
    assert ours._session.processed_frames is None


def test_what_cannot_be_done_is_said(ours: MemoryTracker) -> None:
    with pytest.raises(InputError, match="call start"):
        ours.step(FRAMES[0])
    ours.start(FRAMES[0], Prompt(points=[[60, 90]]))
    with pytest.raises(PromptError, match="id of its own"):
        ours.add(Prompt(points=[[60, 90]], id=1))
    with pytest.raises(InputError, match="no object 9"):
        ours.remove([9])
    ours.remove([1])
    assert len(ours.step(FRAMES[1])) == 0
