"""EfficientSAM (2023): a plain ViT pretrained to predict SAM's features, and SAM's decoder with a few differences.

A prompt is always six tokens, the missing ones filled with "not a point"; boxes are two of them; masks are not taken.
Token MLPs use GELU, self-attention keeps its residual, and the first upscaling is normalised over the whole map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from samovar.errors import PromptError
from samovar_plugins.toolkit import (
    Group,
    Mlp,
    Neck,
    Norm,
    PackedLinear,
    PatchEmbed,
    PointEncoder,
    SamComponents,
    SamDecoder,
    StateDict,
    Stretch,
    Upscaler,
    gelu_,
    residual_mlp,
)

__all__ = ["build_efficient"]

TOKENS = 6
"""Of a prompt."""

HEAD = 64
"""Channels of a head; the checkpoint does not say."""


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: PackedLinear
    out: PackedLinear
    lin1: PackedLinear
    lin2: PackedLinear

    def __call__(self, x: Tensor) -> Tensor:
        """B×L×C → B×L×C."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(2, (3, -1, min(HEAD, x.shape[2]))).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return residual_mlp(x, self.norm2, self.lin1, self.lin2)


class EfficientVit:
    """The encoder. Sizes follow from the shapes of the weights.

    Args:
        state: the module's weights under EfficientSAM's names.
        image_size: side in pixels of the square that it takes.
    """

    def __init__(self, state: StateDict, image_size: int = 1024) -> None:
        self.image_size = image_size
        self._embed = PatchEmbed(state.at("patch_embed"))
        self._side = image_size // self._embed.size
        self._position = _resized(state.float32().tensor("pos_embed")[:, 1:], self._side).to(state.dtype)
        self._blocks = [_block(state.at(f"blocks.{index}")) for index in range(state.count("blocks"))]
        self._neck = Neck(state.at("neck"))

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → "image" B×C×h×w."""
        x = self._embed(images).flatten(1, 2) + self._position
        for block in self._blocks:
            x = block(x)
        return {"image": self._neck(x.unflatten(1, (self._side, self._side)))}


def _resized(position: Tensor, side: int) -> Tensor:
    """1×n²×C position embeddings of the pretraining's grid, for a grid of `side` rows and columns: 1×side²×C."""
    own = int(position.shape[1] ** 0.5)
    grid = position.unflatten(1, (own, own)).permute(0, 3, 1, 2)
    if own != side:
        grid = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return grid.flatten(2).transpose(1, 2).contiguous()


def _block(state: StateDict) -> _Block:
    attention, mlp = state.at("attn"), state.at("mlp")
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=PackedLinear(attention.linear("qkv")),
        out=PackedLinear(attention.linear("proj")),
        lin1=PackedLinear(mlp.linear("fc1")),
        lin2=PackedLinear(mlp.linear("fc2")),
    )


class EfficientPromptEncoder:
    """See `PromptEncoder`.

    Args:
        state: the module's weights under EfficientSAM's names.
        side: length in pixels of the model's square.
    """

    def __init__(self, state: StateDict, side: int) -> None:
        state = state.decoding().float32()
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


def efficient_decoder(state: StateDict, position: Tensor) -> SamDecoder:
    """The decoder, from the module's weights and L×C positions of the embedding's grid."""
    upscaling = state.decoding().at("final_output_upscaling_layers")
    return SamDecoder(
        state,
        position,
        None,
        upscale=Upscaler(upscaling.at("0.0"), upscaling.norm("0.1"), upscaling.at("1.0"), whole=True),
        head=_head,
        activation=gelu_,
        residual_first=True,
        mlp_keys=("layers.0.0", "fc"),
    )


def _head(state: StateDict, name: str, outputs: int) -> Mlp:
    layers = range(state.at(name).count("layers"))
    return state.mlp(name, gelu_, [*(f"layers.{index}.0" for index in layers), "fc"], outputs)


def build_efficient(state: StateDict, image_size: int = 1024) -> SamComponents:
    """The model from its weights under EfficientSAM's names."""
    grid = (image_size // 16, image_size // 16)
    prompts = EfficientPromptEncoder(state.at("prompt_encoder"), image_size)
    decoder = efficient_decoder(state.at("mask_decoder"), prompts.position(grid))
    encoder = EfficientVit(state.at("image_encoder"), image_size)
    return SamComponents(encoder, prompts, decoder, Stretch(image_size), grid, None)
