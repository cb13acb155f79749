"""EfficientSAM's prompt encoder and mask decoder: SAM's with a handful of differences (2023).

A prompt is always six tokens, the missing ones filled with "not a point"; boxes are two of them; masks are not taken.
Token MLPs use GELU, self-attention keeps its residual, and the first upscaling is normalised over the whole map.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from samovar.errors import PromptError
from samovar_plugins.sam.decoder import MULTIMASK, Decoded, choose
from samovar_plugins.sam.layers import Mlp, State, gelu_
from samovar_plugins.sam.prompts import Group, PointEncoder
from samovar_plugins.sam.two_way import Shared, TwoWayTransformer
from samovar_plugins.sam.upscale import Upscaler

__all__ = ["EfficientDecoder", "EfficientPromptEncoder"]

TOKENS = 6


class EfficientPromptEncoder:
    """See `PromptEncoder`.

    Args:
        state: the module's weights under EfficientSAM's names.
        side: length in pixels of the model's square frame.
    """

    def __init__(self, state: State, side: int) -> None:
        state = state.exactly()
        self._points = PointEncoder(state.tensor("pe_layer.positional_encoding_gaussian_matrix"), side)
        names = ("invalid_points", "point_embeddings", "bbox_top_left_embeddings", "bbox_bottom_right_embeddings")
        kinds = [state.tensor(f"{name}.weight") for name in names]
        # A background click is a position and nothing else: the model was trained without.
        self._kinds = torch.cat([torch.zeros_like(kinds[0]), *kinds[1:]])
        self._missing = self._points.pixels(torch.full((1, 2), -1.0, device=kinds[0].device)) + kinds[0]

    def position(self, size: tuple[int, int]) -> Tensor:
        """L×C float32: the encoding of the centre of each cell of a grid of `size` rows and columns."""
        return self._points.grid(size)

    def tokens(self, group: Group) -> Tensor:
        """N×6×C float32. Raises PromptError for prompts of more than six points, a box counting as two."""
        count, clicks = group.points.shape[:2]
        used = clicks + (0 if group.boxes is None else 2)
        if used > TOKENS:
            raise PromptError(
                f"EfficientSAM takes at most {TOKENS} points a prompt, a box counting as 2; got {used}; give fewer"
            )
        corners = np.zeros((count, 0, 2), np.float32) if group.boxes is None else group.boxes.reshape(count, 2, 2)
        where = np.concatenate([group.points, corners], axis=1)
        where[where < 0] = -1  # as the published code has it for what lies outside the image
        kinds = np.concatenate([group.labels, np.broadcast_to([2, 3], (count, 2))[:, : used - clicks]], axis=1)
        device = self._kinds.device
        given = self._points.pixels(torch.from_numpy(where).to(device))
        given += self._kinds[torch.from_numpy(kinds.astype(np.int64)).to(device)]
        return torch.cat([given, self._missing.expand(count, TOKENS - used, -1)], 1)


class EfficientDecoder:
    """See `Decoder`.

    Args:
        state: the module's weights under EfficientSAM's names.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
    """

    def __init__(self, state: State, position: Tensor) -> None:
        upscaling = state.at("final_output_upscaling_layers")
        self._upscale = Upscaler(upscaling.at("0.0"), upscaling.norm("0.1"), upscaling.at("1.0"), whole=True)
        self._transformer = TwoWayTransformer(
            state.at("transformer"),
            position,
            self._upscale.first,
            activation=gelu_,
            residual_first=True,
            mlp_keys=("layers.0.0", "fc"),
        )
        self._dtype = state.dtype
        self._output = torch.cat([state.tensor("iou_token.weight"), state.tensor("mask_tokens.weight")])
        self._masks = [_mlp(state.at(f"output_hypernetworks_mlps.{index}")) for index in range(4)]
        self._ious = _mlp(state.at("iou_prediction_head"))

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many: bool) -> Shared:
        """See `Decoder`. The embedding is "image", C×h×w."""
        image = tensors["image"]
        rows = image.flatten(1).t().to(self._dtype).contiguous()
        return self._transformer.share(rows, (image.shape[1], image.shape[2]), many=many)

    def __call__(self, shared: Shared, prompt: Tensor, *, several: bool, best: bool) -> Decoded:
        """See `Decoder`."""
        wanted = MULTIMASK if several else (0,)
        tokens = torch.cat([self._output.expand(len(prompt), -1, -1), prompt.to(self._dtype)], 1)
        answers, images = self._transformer(shared, tokens, [0, *(1 + mask for mask in wanted)])
        ious, masks = choose(self._ious, answers, [self._masks[mask] for mask in wanted], wanted, best)
        parts = zip(images, masks.chunk(len(images)))
        logits = torch.cat([self._upscale(image, part, shared.size) for image, part in parts])
        return Decoded(logits.float(), ious.float())


def _mlp(state: State) -> Mlp:
    keys = tuple(f"layers.{index}.0" for index in range(state.count("layers")))
    return Mlp(tuple(state.linear(key) for key in (*keys, "fc")), gelu_)
