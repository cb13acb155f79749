"""SAM 2's mask decoder: SAM's, with high-resolution features of the image added on the way up.

Asked for one mask, it gives that of the token for unambiguous prompts unless this mask is unstable, that is, changes
much with the threshold; then it gives the one of the three others with the highest predicted IoU.
"""

from __future__ import annotations

import torch
from torch import Tensor

from samovar_plugins.sam2.hiera import Hiera, Sam2Encoder, Trunk
from samovar_plugins.sam2.plugin import Layout
from samovar_plugins.toolkit import (
    MULTIMASK,
    Decoded,
    DecoderCore,
    Encoder,
    Resize,
    SamComponents,
    SamPromptEncoder,
    Shared,
    Skips,
    StateDict,
    Stretch,
    as_rows,
    best_of,
)

__all__ = ["Sam2Decoder", "build_around", "build_sam2", "components"]

OFFSET = 0.05
"""Logits above and below the threshold between which a stable mask hardly changes."""

STABLE = 0.98
"""IoU of the masks at these two thresholds from which one counts as stable."""

IOU, FIRST = 1, 2
"""Places among the output tokens, of which 0 says whether there is an object at all."""

LIMIT = 32.0
"""Published predictors hand out logits between −32 and 32."""


class Sam2Decoder:
    """See `Decoder`.

    Args:
        state: the module's weights under the names of the `sam2` package.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
        no_mask: C, the dense prompt that stands for "no mask given".
    """

    def __init__(self, state: StateDict, position: Tensor, no_mask: Tensor) -> None:
        tokens = ("obj_score_token", "iou_token", "mask_tokens")
        keys = ("layers.0", "layers.1")
        self._core = DecoderCore(state.decoding(), position, no_mask, tokens=tokens, mlp_keys=keys)

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many_prompts: bool) -> Shared:
        """See `Decoder`. The embedding is "image" C×h×w, "middle" C/4×2h×2w and "fine" C/8×4h×4w."""
        image = tensors["image"]
        size, dtype = (image.shape[1], image.shape[2]), self._core.dtype
        skips = [as_rows(tensors[name].to(dtype), size) for name in ("middle", "fine")]
        return self._core.share(image, dense, many_prompts=many_prompts, features=skips)

    def __call__(self, shared: Shared, prompt: Tensor, *, multimask_output: bool, best_only: bool) -> Decoded:
        """See `Decoder`."""
        core = self._core
        wanted = MULTIMASK if multimask_output else (0, *MULTIMASK)
        answers, images = core.attend(shared, prompt, [IOU, *(FIRST + mask for mask in wanted)])
        every = torch.sigmoid(core.ious(answers[:, 0]))
        ious = torch.stack([every[:, mask] for mask in wanted], 1)
        masks = torch.stack([core.masks[mask](answers[:, 1 + place]) for place, mask in enumerate(wanted)], 1)
        if not multimask_output:
            ious, masks = _first_and_best(ious, masks)
        elif best_only:
            ious, masks = best_of(ious, masks)
        logits = core.draw(images, masks, shared, Skips(*shared.features)).float()
        if not multimask_output:
            stable = _stable(logits[:, 0])[:, None]
            ious = torch.where(stable, ious[:, :1], ious[:, 1:])
            logits = torch.where(stable[..., None, None], logits[:, :1], logits[:, 1:])
        return Decoded(logits, ious.float())


def _first_and_best(ious: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The first of N×M masks, and the one with the highest predicted IoU of the others."""
    best, best_mask = best_of(ious[:, 1:], masks[:, 1:])
    return torch.cat([ious[:, :1], best], 1), torch.cat([masks[:, :1], best_mask], 1)


def _stable(logits: Tensor) -> Tensor:
    """N bool: which of N×h×w logits hardly depend on the threshold."""
    inner = (logits > OFFSET).sum((1, 2))
    outer = (logits > -OFFSET).sum((1, 2))
    return torch.where(outer > 0, inner / outer, torch.ones_like(inner, dtype=torch.float32)) >= STABLE


def build_sam2(layout: Layout, state: StateDict, image_size: int = 1024) -> SamComponents:
    """The networks of a model whose encoder is a Hiera of that layout.

    Args:
        layout: what the weights leave open.
        state: under the names of Meta's checkpoints.
        image_size: side in pixels of the encoder's square; the published models take 1024.
    """
    return build_around(Hiera(state.at("image_encoder.trunk"), layout, image_size), state)


def build_around(trunk: Trunk, state: StateDict) -> SamComponents:
    """The networks of a model that has SAM 2's neck, prompt encoder and decoder around another trunk."""
    no_memory = state.float32().tensor("no_mem_embed")
    encoder = Sam2Encoder(trunk, state.at("image_encoder.neck"), state.at("sam_mask_decoder"), no_memory)
    return components(encoder, state, Stretch(trunk.image_size, antialias=True, mode="bilinear"), 16)


def components(encoder: Encoder, state: StateDict, resize: Resize, patch: int) -> SamComponents:
    """SAM 2's prompt encoder and decoder around an encoder that gives what they take.

    Args:
        patch: pixels from one position of the embedding to the next.
    """
    grid = (encoder.image_size // patch, encoder.image_size // patch)
    prompts = SamPromptEncoder(state.at("sam_prompt_encoder"), encoder.image_size, padded=True)
    decoder = Sam2Decoder(state.at("sam_mask_decoder"), prompts.position(grid), prompts.no_mask)
    return SamComponents(encoder, prompts, decoder, resize, grid, prompts.dense, LIMIT)
