"""Clicks instead of a mask, as a block of a modular diffusers pipeline.

    blocks = StableDiffusionXLAutoBlocks()
    blocks.sub_blocks.insert("click_to_mask", ClickToMask(), 0)
    pipeline = blocks.init_pipeline(folder)
    pipeline.load_components()
    pipeline.update_components(segmenter=SegmenterComponent("default"))
    pipeline(image=photo, points=[[200, 180]], prompt="a bench", output="images")

The segmenter is a component like the others: `save_pretrained` writes its name down beside the weights, and
`load_components` brings it back.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from diffusers.modular_pipelines import ModularPipelineBlocks
from diffusers.modular_pipelines.modular_pipeline_utils import ComponentSpec, InputParam, OutputParam
from PIL import Image as Pillow
from transformers import ImageProcessingMixin

from samovar.errors import InputError, MaskError
from samovar.loading import load
from samovar.prompts import Prompt
from samovar_adapters.inpaint import Region

if TYPE_CHECKING:
    from samovar.runtime import Runtime

__all__ = ["ClickToMask", "SegmenterComponent"]


class _Saved(TypedDict, total=False):
    model: str
    weights: str | None
    device: str


class SegmenterComponent(ImageProcessingMixin):  # type: ignore[misc]
    """A Samovar model by name, saved and loaded as image processors are: a small JSON file and no weights.

    Args:
        model: what `samovar.load` takes.
        weights: weights for that model instead of its published ones.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
    """

    valid_kwargs = _Saved  # what image processors may be given anew when they are loaded

    def __init__(self, model: str = "default", weights: str | None = None, device: str = "auto", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model, self.weights, self.device = model, weights, device

    @property
    def runtime(self) -> Runtime:
        """The runtime, loaded when it is first asked for."""
        return _loaded(self.model, self.weights, self.device)


@lru_cache(maxsize=2)
def _loaded(model: str, weights: str | None, device: str) -> Runtime:
    # Not kept by the component: diffusers copies components whole when it saves them.
    return load(model, weights=weights, device=device)


class ClickToMask(ModularPipelineBlocks):  # type: ignore[misc]
    """Makes `mask_image` of `image` and `points` or `box`; put first, it replaces the input `mask_image`."""

    @property
    def description(self) -> str:
        """What the block does."""
        return "Segments what points and a box of the image mark, as the mask that is repainted."

    @property
    def expected_components(self) -> list[Any]:
        """The segmenter."""
        return [ComponentSpec("segmenter", SegmenterComponent)]

    @property
    def inputs(self) -> list[Any]:
        """The image, the prompt of the mask, and how its mask is grown."""
        return [
            InputParam("image", required=True, description="The image: anything samovar.Image takes."),
            InputParam("points", description="N×2 clicks (x, y), in pixels of the image."),
            InputParam("point_labels", description="N labels, 1 for the object and 0 for the background."),
            InputParam("box", description="x1 y1 x2 y2 in pixels of the image."),
            InputParam("dilate", default=0, description="Pixels that the mask grows by."),
        ]

    @property
    def intermediate_outputs(self) -> list[Any]:
        """The mask, white where the object is."""
        return [OutputParam("mask_image", type_hint=Pillow.Image, description="White is repainted.")]

    def __call__(self, components: Any, state: Any) -> tuple[Any, Any]:
        """Segment.

        Raises:
            InputError: neither points nor a box, or no segmenter.
            ImageError, PromptError, MaskError: an image or a prompt that cannot be used; nothing found.
        """
        block = self.get_block_state(state)
        if block.points is None and block.box is None:
            raise InputError("ClickToMask expects points or a box; got neither; pass e.g. points=[[200, 180]]")
        if components.segmenter is None:
            raise InputError(
                "ClickToMask has no segmenter; run pipeline.update_components(segmenter=SegmenterComponent(…))"
            )
        prompt = Prompt(points=block.points, point_labels=block.point_labels, box=block.box)
        masks = components.segmenter.runtime.segment(block.image, [prompt])
        if not masks.areas[0]:
            raise MaskError("ClickToMask found nothing at the prompt; move the click, or give a box")
        whole = 0, 0, masks.width, masks.height
        marked = Region.around(masks, block.dilate, 0).inside(whole) > 0
        block.mask_image = Pillow.fromarray(marked.astype(np.uint8) * 255)
        self.set_block_state(state, block)
        return components, state
