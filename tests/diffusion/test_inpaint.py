"""`inpaint` over real pipelines of six families, tiny, with random weights, saved and loaded as published."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from samovar import Masks
from samovar.errors import Cancelled, DeviceError, InputError, MaskError, SamovarError, WeightsError
from samovar_adapters.diffusers import inpaint, inpaint_batch, load_pipeline
from samovar_adapters.diffusers.pipeline import Signature
from samovar_adapters.inpaint import MaskMargins
from tests.diffusion.tiny import BUILDERS, SIDE, flux_fill, safety_checker

FAMILIES = list(BUILDERS)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every family's pipeline, saved."""
    root = tmp_path_factory.mktemp("pipelines")
    for name, build in BUILDERS.items():
        build(root / "tokenizer" / name).save_pretrained(root / name)
    return {name: root / name for name in BUILDERS}


@pytest.fixture(scope="session")
def pipelines(folders: dict[str, Path]) -> dict[str, Any]:
    """Every family's pipeline, loaded again."""
    loaded = {name: load_pipeline(folder, device="cpu") for name, folder in folders.items()}
    for pipeline in loaded.values():
        pipeline.set_progress_bar_config(disable=True)
    return loaded


def needed(family: str) -> dict[str, Any]:
    """What the family's call needs besides image and mask. One step is enough to see what is painted."""
    steps = {"num_inference_steps": 2}
    if family != "kandinsky22":
        return steps
    zero = torch.zeros(1, 32)
    return steps | {"image_embeds": zero, "negative_image_embeds": zero}


def scene(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def box_mask(width: int, height: int, x1: int, y1: int, x2: int, y2: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# -------------------------------------------------------------------------------------------------- what is painted


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("width", "height"), [(64, 64), (331, 120), (120, 331), (1333, 64), (750, 1333)])
def test_white_is_repainted_and_all_else_stays_bit_identical(
    family: str, width: int, height: int, pipelines: dict[str, Any]
) -> None:
    image, mask = scene(width, height), box_mask(width, height, 20, 10, 50, 40)
    result = inpaint(pipelines[family], image, mask, seed=0, **needed(family))
    assert result.shape == image.shape
    assert np.array_equal(result[~mask], image[~mask])
    assert (result[mask] != image[mask]).any(axis=1).mean() > 0.95


@settings(max_examples=12)
@given(st.integers(64, 1333), st.integers(64, 1333), st.floats(0, 0.9), st.floats(0, 0.9), st.integers(0, 8))
def test_every_size_comes_back_at_its_size(
    pipelines: dict[str, Any], width: int, height: int, x: float, y: float, grow: int
) -> None:
    image = scene(width, height)
    x1, y1 = int(x * width), int(y * height)
    mask = box_mask(width, height, x1, y1, x1 + 25, y1 + 18)
    margins = MaskMargins(dilate=grow, feather=grow // 2)
    result = inpaint(pipelines["sd15"], image, mask, seed=0, margins=margins, num_inference_steps=1)
    reach = grow + grow // 2
    far = ~box_mask(width, height, max(0, x1 - reach), max(0, y1 - reach), x1 + 25 + reach, y1 + 18 + reach)
    assert result.shape == image.shape
    assert np.array_equal(result[far], image[far])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_painted_comes_from_the_pipeline_itself(family: str, pipelines: dict[str, Any]) -> None:
    """At the pipeline's own size there is no window and no scaling: the result is the pipeline's own, in the mask."""
    image, mask = scene(SIDE, SIDE), box_mask(SIDE, SIDE, 16, 16, 40, 48)
    if family == "controlnet":
        extra: dict[str, Any] = {"control_image": Pillow.fromarray(image)}
    else:
        extra = {}
    direct = pipelines[family](
        image=Pillow.fromarray(image),
        mask_image=Pillow.fromarray(mask),
        height=SIDE,
        width=SIDE,
        generator=torch.Generator().manual_seed(5),
        **({} if family == "kandinsky22" else {"prompt": "a cat"}),
        **needed(family),
        **extra,
    ).images[0]
    ours = inpaint(
        pipelines[family],
        image,
        mask,
        None if family == "kandinsky22" else "a cat",
        margins=MaskMargins(whole=True),
        seed=5,
        **needed(family),
        **extra,
    )
    assert np.array_equal(ours[mask], np.asarray(direct)[mask])


def forms(mask: np.ndarray) -> dict[str, Any]:
    grey = Pillow.fromarray(mask.astype(np.uint8) * 255)
    return {
        "float": mask.astype(np.float32),
        "uint8": mask.astype(np.uint8) * 255,
        "PIL L": grey,
        "PIL 1": grey.convert("1"),
        "PIL RGB": grey.convert("RGB"),
        "bool tensor": torch.from_numpy(mask),
        "float tensor": torch.from_numpy(mask).float()[None],
        "Masks": Masks.from_array(mask[None]),
    }


@pytest.mark.parametrize("form", forms(np.ones((1, 1), bool)))
def test_a_mask_of_any_form_gives_the_same_picture(form: str, pipelines: dict[str, Any]) -> None:
    image, mask = scene(90, 70), box_mask(90, 70, 20, 20, 60, 50)
    wanted = inpaint(pipelines["sd15"], image, mask, seed=3, num_inference_steps=1)
    assert np.array_equal(inpaint(pipelines["sd15"], image, forms(mask)[form], seed=3, num_inference_steps=1), wanted)


def test_no_masks_one_and_many(pipelines: dict[str, Any]) -> None:
    image = scene(200, 120)
    masks = np.stack([box_mask(200, 120, 10, 10, 40, 40), box_mask(200, 120, 150, 60, 190, 110)])
    call: dict[str, Any] = {"seed": 0, "num_inference_steps": 1}
    assert np.array_equal(inpaint(pipelines["sd15"], image, Masks.empty(200, 120), **call), image)
    for margins in (MaskMargins(), MaskMargins(each=True)):
        result = inpaint(pipelines["sd15"], image, masks, margins=margins, **call)
        assert np.array_equal(result[~masks.any(axis=0)], image[~masks.any(axis=0)])
        for mask in masks:
            assert (result[mask] != image[mask]).any(axis=1).mean() > 0.9


def test_small_objects_in_large_photos_are_seen_at_the_models_own_size(pipelines: dict[str, Any]) -> None:
    seen: list[tuple[int, ...]] = []
    hook = pipelines["sd15"].unet.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-2:]))
    try:
        inpaint(pipelines["sd15"], scene(1300, 900), box_mask(1300, 900, 700, 500, 720, 520), num_inference_steps=1)
    finally:
        hook.remove()
    assert seen == [(SIDE // 8, SIDE // 8)]


def test_flux_fill_which_has_a_size_of_its_own(tmp_path: Path) -> None:
    flux_fill(tmp_path / "tokenizer").save_pretrained(tmp_path / "saved")
    pipeline = load_pipeline(tmp_path / "saved", device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    found = Signature.of(pipeline)
    assert (found.native, found.multiple) == (1024, 16)
    image, mask = scene(330, 210), box_mask(330, 210, 20, 10, 80, 60)
    first, again = (inpaint(pipeline, image, mask, "a cat", seed=0, size=SIDE, num_inference_steps=2) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(first[~mask], image[~mask])
    assert (first[mask] != image[mask]).any(axis=1).mean() > 0.95


# -------------------------------------------------------------------------------------------------- how it is called


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_repeats_and_another_differs(family: str, pipelines: dict[str, Any]) -> None:
    image, mask = scene(80, 64), box_mask(80, 64, 20, 20, 60, 50)
    first, again, other = (inpaint(pipelines[family], image, mask, seed=seed, **needed(family)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_paints_what_each_image_gets_alone(family: str, pipelines: dict[str, Any]) -> None:
    images = [scene(80, 64, seed) for seed in range(3)] + [scene(64, 100)]
    masks: list[Any] = [box_mask(80, 64, 20, 20, 60, 50)] * 2 + [Masks.empty(80, 64), box_mask(64, 100, 5, 5, 50, 60)]
    together: list[Any] = inpaint_batch(pipelines[family], images, masks, seed=10, batch=4, **needed(family))
    for i, (image, mask) in enumerate(zip(images, masks)):
        alone = inpaint(pipelines[family], image, mask, seed=10 + i, **needed(family))
        # Not bit for bit: a batch adds its numbers up in another order.
        assert np.abs(np.subtract(together[i], alone, dtype=int)).max() <= 2


def test_what_is_passed_on_reaches_the_pipeline(pipelines: dict[str, Any]) -> None:
    image, mask = scene(64, 64), box_mask(64, 64, 20, 20, 60, 50)
    steps: list[tuple[int, int]] = []
    inpaint(
        pipelines["sd15"],
        image,
        mask,
        "a cat",
        negative_prompt="a dog",
        strength=0.5,
        num_inference_steps=4,
        progress=lambda done, total: steps.append((done, total)),
    )
    assert steps == [(1, 2), (2, 2)]
    plain, other = (
        inpaint(pipelines["sd15"], image, mask, "a cat", negative_prompt=words, seed=0, num_inference_steps=2)
        for words in ("a dog", "noise")
    )
    assert not np.array_equal(plain, other)


def test_cancelling_stops_after_the_step_at_hand(pipelines: dict[str, Any]) -> None:
    cancel, steps = threading.Event(), []

    def stop_at_two(done: int, total: int) -> None:
        steps.append(done)
        if done == 2:
            cancel.set()

    with pytest.raises(Cancelled, match="after step 3"):
        inpaint(
            pipelines["sd15"],
            scene(64, 64),
            box_mask(64, 64, 20, 20, 60, 50),
            num_inference_steps=9,
            progress=stop_at_two,
            cancel=cancel,
        )
    assert steps == [1, 2]
    again = inpaint(pipelines["sd15"], scene(64, 64), box_mask(64, 64, 2, 2, 9, 9), num_inference_steps=1)
    assert again.shape == (64, 64, 3)


def test_a_control_picture_is_cut_to_the_window(pipelines: dict[str, Any]) -> None:
    image, mask = scene(300, 200), box_mask(300, 200, 20, 20, 50, 50)
    control = np.zeros((200, 300, 3), np.uint8)
    call: dict[str, Any] = {"seed": 0, "num_inference_steps": 1}
    plain = inpaint(pipelines["controlnet"], image, mask, control=control, **call)
    control[150:, 200:] = 255  # outside the window around the mask
    assert np.array_equal(inpaint(pipelines["controlnet"], image, mask, control=control, **call), plain)
    with pytest.raises(InputError, match="300×200 pixels; got 20×20"):
        inpaint(pipelines["controlnet"], image, mask, control=control[:20, :20], **call)


# -------------------------------------------------------------------------------------------------- what goes wrong


def test_what_a_safety_checker_refuses_is_reported_and_never_pasted(folders: dict[str, Path]) -> None:
    pipeline = load_pipeline(folders["sd15"], device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    pipeline.safety_checker, pipeline.feature_extractor = safety_checker()
    image, mask = scene(64, 64), box_mask(64, 64, 20, 20, 60, 50)
    with pytest.raises(SamovarError, match="safety checker of StableDiffusionInpaintPipeline refused"):
        inpaint(pipeline, image, mask, num_inference_steps=1)
    refused, untouched = inpaint_batch(pipeline, [image, image], [mask, Masks.empty(64, 64)], num_inference_steps=1)
    assert isinstance(refused, SamovarError)
    assert np.array_equal(untouched, image)  # type: ignore[arg-type]


def test_a_pipeline_without_a_mask_input_is_refused_in_one_line(pipelines: dict[str, Any]) -> None:
    import diffusers

    plain = diffusers.StableDiffusionPipeline(
        **{name: part for name, part in pipelines["sd15"].components.items() if name != "image_encoder"},
        requires_safety_checker=False,
    )
    with pytest.raises(InputError, match="StableDiffusionPipeline has no image and no mask_image; use an inpainting"):
        inpaint(plain, scene(64, 64), box_mask(64, 64, 2, 2, 9, 9))
    with pytest.raises(InputError, match="got str; load one with load_pipeline"):
        inpaint("runwayml", scene(64, 64), box_mask(64, 64, 2, 2, 9, 9))


def test_a_text_to_image_pipeline_is_loaded_as_its_inpainting_one(folders: dict[str, Path], tmp_path: Path) -> None:
    import diffusers

    xl = load_pipeline(folders["sdxl"], device="cpu")
    diffusers.StableDiffusionXLPipeline.from_pipe(xl).save_pretrained(tmp_path)
    assert type(load_pipeline(tmp_path, device="cpu")).__name__ == "StableDiffusionXLInpaintPipeline"


def test_arguments_that_a_pipeline_does_not_take_or_lacks_are_named(pipelines: dict[str, Any]) -> None:
    image, mask = scene(64, 64), box_mask(64, 64, 2, 2, 9, 9)
    with pytest.raises(InputError, match="KandinskyV22InpaintPipeline takes no guidance; it takes"):
        inpaint(pipelines["kandinsky22"], image, mask, guidance=3, **needed("kandinsky22"))
    with pytest.raises(InputError, match="also needs image_embeds, negative_image_embeds"):
        inpaint(pipelines["kandinsky22"], image, mask)
    with pytest.raises(InputError, match=r"StableDiffusionInpaintPipeline refused its arguments: .*strength"):
        inpaint(pipelines["sd15"], image, mask, strength=7)


@pytest.mark.parametrize(
    ("masks", "says"),
    [(np.zeros((64, 64), bool), "empty"), (np.ones((32, 64), bool), "64×64 pixels; got 64×32")],
)
def test_masks_that_cannot_be_used_are_named(masks: np.ndarray, says: str, pipelines: dict[str, Any]) -> None:
    with pytest.raises(MaskError, match=says):
        inpaint(pipelines["sd15"], scene(64, 64), masks)


def test_a_device_out_of_memory_is_one_line(pipelines: dict[str, Any]) -> None:
    def run_out(module: Any, given: Any) -> None:
        torch.empty(1 << 60)  # more than any machine has: the allocator's own error

    hook = pipelines["sd15"].unet.register_forward_pre_hook(run_out)
    try:
        with pytest.raises(DeviceError, match="ran out of memory on cpu with 1 image of 64×64 pixels") as failed:
            inpaint(pipelines["sd15"], scene(64, 64), box_mask(64, 64, 2, 2, 60, 60))
    finally:
        hook.remove()
    assert "\n" not in str(failed.value)


def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="expected a diffusers pipeline's folder"):
        load_pipeline(tmp_path, device="cpu", local_files_only=True)


def test_the_published_sizes_are_read_off_the_pipeline(pipelines: dict[str, Any]) -> None:
    read = {
        name: (found.native, found.multiple) for name, found in ((n, Signature.of(p)) for n, p in pipelines.items())
    }
    assert read == {"sd15": (64, 8), "sdxl": (64, 8), "sd3": (64, 16), "kandinsky22": (64, 64), "controlnet": (64, 8)}
