"""`ClickToMask` in a real modular pipeline: Stable Diffusion XL's own blocks, tiny, and the default segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import samovar
from samovar.errors import InputError
from samovar_adapters.diffusers.modular import ClickToMask, SegmenterComponent
from tests.diffusion.tiny import sdxl

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # modular diffusers is experimental, and says so

WIDTH, HEIGHT = 120, 80
CLICK = [[73, 57]]  # on the spoon


def blocks() -> Any:
    made = diffusers.StableDiffusionXLAutoBlocks()
    made.sub_blocks.insert("click_to_mask", ClickToMask(), 0)
    return made


def loaded(folder: Path) -> Any:
    pipeline = blocks().init_pipeline(str(folder))
    pipeline.load_components()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def call(pipeline: Any, photo: Pillow.Image, **given: Any) -> Any:
    return pipeline(
        image=photo,
        prompt="a cat",
        strength=1.0,
        num_inference_steps=1,
        height=HEIGHT,
        width=WIDTH,
        generator=torch.Generator().manual_seed(0),
        **given,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("modular")
    sdxl(root / "tokenizer").save_pretrained(root / "plain")
    pipeline = loaded(root / "plain")
    pipeline.update_components(segmenter=SegmenterComponent("default"))
    pipeline.save_pretrained(str(root / "saved"), overwrite_modular_index=True)
    return root / "saved"


@pytest.fixture
def small(photo: Path) -> Pillow.Image:
    return Pillow.open(photo).resize((WIDTH, HEIGHT))


def test_a_click_takes_the_masks_place_among_the_inputs() -> None:
    plain, ours = diffusers.StableDiffusionXLAutoBlocks(), blocks()
    assert "mask_image" in {each.name for each in plain.inputs}
    names = {each.name for each in ours.inputs}
    assert "mask_image" not in names
    assert {"image", "points", "box"} <= names


def test_it_is_saved_and_loaded_with_the_pipeline(saved: Path, small: Pillow.Image) -> None:
    pipeline = loaded(saved)
    assert pipeline.segmenter.model == "default"
    state = call(pipeline, small, points=CLICK)
    wanted = samovar.load("default").segment(small, samovar.Prompt(points=CLICK)).to_array()[0]
    assert np.array_equal(np.asarray(state.get("mask_image")) > 0, wanted)
    assert state.get("images")[0].size == (WIDTH, HEIGHT)


def test_the_painted_picture_is_what_the_same_mask_gives_without_the_block(saved: Path, small: Pillow.Image) -> None:
    pipeline = loaded(saved)
    ours = call(pipeline, small, box=[65, 13, 85, 66], dilate=2)
    plain = diffusers.StableDiffusionXLAutoBlocks().init_pipeline(str(saved))
    plain.update_components(**{name: part for name, part in pipeline.components.items() if name != "segmenter"})
    plain.set_progress_bar_config(disable=True)
    theirs = call(plain, small, mask_image=ours.get("mask_image"))
    assert np.array_equal(np.asarray(ours.get("images")[0]), np.asarray(theirs.get("images")[0]))


def test_without_a_prompt_or_a_segmenter_it_says_so(saved: Path, small: Pillow.Image) -> None:
    with pytest.raises(InputError, match="points or a box; got neither"):
        call(loaded(saved), small)
    bare = blocks().init_pipeline(str(saved.parent / "plain"))
    bare.load_components()
    with pytest.raises(InputError, match="no segmenter"):
        call(bare, small, points=CLICK)
