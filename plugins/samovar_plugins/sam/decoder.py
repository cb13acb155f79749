"""SAM's mask decoder: from an image's embedding and prompt tokens to mask logits and predicted IoUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from samovar_plugins.sam.layers import Mlp, State, relu_
from samovar_plugins.sam.two_way import Shared, TwoWayTransformer
from samovar_plugins.sam.upscale import Upscaler

__all__ = ["Decoded", "Decoder", "SamDecoder", "choose"]

MULTIMASK = (1, 2, 3)
"""Of a decoder's four masks, those for the whole, the part and the sub-part; 0 is the one for unambiguous prompts."""


class Decoded(NamedTuple):
    """What a chunk of N prompts was answered with.

    Attributes:
        logits: N×M×4h×4w float32.
        ious: N×M float32, predicted.
    """

    logits: Tensor
    ious: Tensor


class Decoder(Protocol):
    """A mask decoder. Holds weights only."""

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many: bool) -> Shared:
        """What all prompts of one image have in common.

        Args:
            tensors: the embedding, by the encoder's names.
            dense: L×C, the encoding of a mask prompt, or None where there is none.
            many: prepare for more prompts than a few.
        """

    def __call__(self, shared: Shared, prompt: Tensor, *, several: bool, best: bool) -> Decoded:
        """Masks for N×P×C prompt tokens.

        Args:
            several: from the three mask tokens for ambiguous prompts, rather than the one for others.
            best: of these, only the one with the highest predicted IoU.
        """


class SamDecoder:
    """The decoder of SAM and MobileSAM.

    Args:
        state: the module's weights under the names of the `segment-anything` package.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
        no_mask: C, the dense prompt that stands for "no mask given".
    """

    def __init__(self, state: State, position: Tensor, no_mask: Tensor) -> None:
        upscaling = state.at("output_upscaling")
        self._upscale = Upscaler(upscaling.at(0), upscaling.norm("1", eps=1e-6), upscaling.at(3))
        self._transformer = TwoWayTransformer(state.at("transformer"), position, self._upscale.first)
        self._no_mask = no_mask
        self._dtype = state.dtype
        self._output = torch.cat([state.tensor("iou_token.weight"), state.tensor("mask_tokens.weight")])
        self._masks = [state.mlp(f"output_hypernetworks_mlps.{index}", relu_) for index in range(4)]
        self._ious = state.mlp("iou_prediction_head", relu_)

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many: bool) -> Shared:
        """See `Decoder`. The embedding is "image", C×h×w."""
        image = tensors["image"]
        rows = image.flatten(1).t().float() + (self._no_mask if dense is None else dense)
        return self._transformer.share(rows.to(self._dtype), (image.shape[1], image.shape[2]), many=many)

    def __call__(self, shared: Shared, prompt: Tensor, *, several: bool, best: bool) -> Decoded:
        """See `Decoder`."""
        wanted = MULTIMASK if several else (0,)
        tokens = torch.cat([self._output.expand(len(prompt), -1, -1), prompt.to(self._dtype)], 1)
        answers, images = self._transformer(shared, tokens, [0, *(1 + mask for mask in wanted)])
        ious, masks = choose(self._ious, answers, [self._masks[mask] for mask in wanted], wanted, best)
        parts = zip(images, masks.chunk(len(images)))
        logits = torch.cat([self._upscale(image, part, shared.size) for image, part in parts])
        return Decoded(logits.float(), ious.float())


def choose(
    head: Mlp, answers: Tensor, masks: Sequence[Mlp], wanted: Sequence[int], best: bool
) -> tuple[Tensor, Tensor]:
    """Predicted IoUs (N×M) and the vectors that make the masks (N×M×C₂) from the answers for the output tokens.

    Args:
        head: predicts all masks' IoUs from the first answer.
        answers: N×(1+M)×C.
        masks: M, what makes a mask's vector from its answer.
        wanted: M, which of the head's predictions.
        best: keep, of the M masks, the one with the highest predicted IoU.
    """
    # No indexing by lists: on a GPU each list is a transfer that waits for all work before it.
    every = head(answers[:, 0])
    ious = torch.stack([every[:, mask] for mask in wanted], 1)
    vectors = torch.stack([mlp(answers[:, 1 + index]) for index, mlp in enumerate(masks)], 1)
    if best and len(masks) > 1:
        top = ious.argmax(1)[:, None]
        return ious.gather(1, top), vectors.take_along_dim(top[..., None], 1)
    return ious, vectors
