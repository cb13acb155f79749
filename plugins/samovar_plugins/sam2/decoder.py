"""SAM 2's mask decoder: SAM's, with high-resolution features of the image added on the way up.

Asked for one mask, it gives that of the token for unambiguous prompts unless this mask is unstable, that is, changes
much with the threshold; then it gives the one of the three others with the highest predicted IoU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from samovar_plugins.sam.decoder import MULTIMASK, Decoded
from samovar_plugins.sam.layers import State, relu_
from samovar_plugins.sam.two_way import Shared, TwoWayTransformer
from samovar_plugins.sam.upscale import Skips, Upscaler, as_rows

__all__ = ["Sam2Decoder"]

OFFSET = 0.05
"""Logits above and below the threshold between which a stable mask hardly changes."""

STABLE = 0.98
"""IoU of the masks at these two thresholds from which one counts as stable."""

IOU, FIRST = 1, 2
"""Places among the output tokens, of which 0 says whether there is an object at all."""


@dataclass(frozen=True)
class _Sam2Shared(Shared):
    """Attributes: skips: what is added on the way up."""

    skips: Skips


class Sam2Decoder:
    """See `Decoder`.

    Args:
        state: the module's weights under the names of the `sam2` package.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
        no_mask: C, the dense prompt that stands for "no mask given".
    """

    def __init__(self, state: State, position: Tensor, no_mask: Tensor) -> None:
        upscaling = state.at("output_upscaling")
        self._upscale = Upscaler(upscaling.at(0), upscaling.norm("1", eps=1e-6), upscaling.at(3))
        self._transformer = TwoWayTransformer(
            state.at("transformer"), position, self._upscale.first, mlp_keys=("layers.0", "layers.1")
        )
        self._no_mask = no_mask
        self._dtype = state.dtype
        tokens = [state.tensor(f"{name}.weight") for name in ("obj_score_token", "iou_token", "mask_tokens")]
        self._output = torch.cat(tokens)
        self._masks = [state.mlp(f"output_hypernetworks_mlps.{index}", relu_) for index in range(4)]
        self._ious = state.mlp("iou_prediction_head", relu_)

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many: bool) -> Shared:
        """See `Decoder`. The embedding is "image" C×h×w, "middle" C/4×2h×2w and "fine" C/8×4h×4w."""
        image = tensors["image"]
        size = image.shape[1], image.shape[2]
        rows = image.flatten(1).t().float() + (self._no_mask if dense is None else dense)
        shared = self._transformer.share(rows.to(self._dtype), size, many=many)
        middle, fine = (as_rows(tensors[name].to(self._dtype), size) for name in ("middle", "fine"))
        return _Sam2Shared(shared.image, shared.first, shared.size, shared.tables, Skips(middle, fine))

    def __call__(self, shared: Shared, prompt: Tensor, *, several: bool, best: bool) -> Decoded:
        """See `Decoder`."""
        if not isinstance(shared, _Sam2Shared):
            raise TypeError(f"expected what share() returned; got {type(shared).__name__}")
        wanted = MULTIMASK if several else (0, *MULTIMASK)
        tokens = torch.cat([self._output.expand(len(prompt), -1, -1), prompt.to(self._dtype)], 1)
        answers, images = self._transformer(shared, tokens, [IOU, *(FIRST + mask for mask in wanted)])
        every = torch.sigmoid(self._ious(answers[:, 0]))
        ious = torch.stack([every[:, mask] for mask in wanted], 1)
        masks = torch.stack([self._masks[mask](answers[:, 1 + place]) for place, mask in enumerate(wanted)], 1)
        if not several:
            ious, masks = _first_and_best(ious, masks)
        elif best:
            ious, masks = _best(ious, masks)
        parts = zip(images, masks.chunk(len(images)))
        logits = torch.cat([self._upscale(image, part, shared.size, shared.skips) for image, part in parts]).float()
        if not several:
            stable = _stable(logits[:, 0])[:, None]
            ious = torch.where(stable, ious[:, :1], ious[:, 1:])
            logits = torch.where(stable[..., None, None], logits[:, :1], logits[:, 1:])
        return Decoded(logits, ious.float())


def _best(ious: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Of N×M IoUs and N×M×C vectors those of the highest IoU: N×1 and N×1×C."""
    top = ious.argmax(1)[:, None]
    return ious.gather(1, top), masks.take_along_dim(top[..., None], 1)


def _first_and_best(ious: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """The first of N×M masks, and the one with the highest predicted IoU of the others."""
    best, best_mask = _best(ious[:, 1:], masks[:, 1:])
    return torch.cat([ious[:, :1], best], 1), torch.cat([masks[:, :1], best_mask], 1)


def _stable(logits: Tensor) -> Tensor:
    """N bool: which of N×h×w logits hardly depend on the threshold."""
    inner = (logits > OFFSET).sum((1, 2))
    outer = (logits > -OFFSET).sum((1, 2))
    return torch.where(outer > 0, inner / outer, torch.ones_like(inner, dtype=torch.float32)) >= STABLE
