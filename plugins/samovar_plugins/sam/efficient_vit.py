"""EfficientSAM's image encoder: a plain ViT with global attention, pretrained to predict SAM's features (2023)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from samovar_plugins.sam.layers import Linear, Norm, State
from samovar_plugins.sam.product import Product, residual_mlp
from samovar_plugins.sam.vit import Neck

__all__ = ["EfficientVit"]

HEAD = 64
"""Channels of a head; the checkpoint does not say."""


@dataclass(frozen=True)
class _Block:
    norm1: Norm
    norm2: Norm
    qkv: Product
    out: Product
    lin1: Product
    lin2: Product

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
        frame: side in pixels of the square that it takes.
    """

    def __init__(self, state: State, frame: int = 1024) -> None:
        self.frame = frame
        patch = state.linear("patch_embed.proj")
        self._patch = patch.weight.shape[-1]
        self._side = frame // self._patch
        self._embed = Product(Linear(patch.weight.flatten(1), patch.bias))
        self._position = _resized(state.exactly().tensor("pos_embed")[:, 1:], self._side).to(state.dtype)
        self._blocks = [_block(state.at(f"blocks.{index}")) for index in range(state.count("blocks"))]
        self._neck = Neck(state.at("neck"))

    def __call__(self, frames: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → "image" B×C×h×w."""
        count, side, patch = len(frames), self._side, self._patch
        cells = frames.view(count, 3, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        x = self._embed(cells.reshape(count, side * side, -1)) + self._position
        for block in self._blocks:
            x = block(x)
        return {"image": self._neck(x.unflatten(1, (side, side)))}


def _resized(position: Tensor, side: int) -> Tensor:
    """1×n²×C position embeddings of the pretraining's grid, for a grid of `side` rows and columns: 1×side²×C."""
    own = int(position.shape[1] ** 0.5)
    grid = position.unflatten(1, (own, own)).permute(0, 3, 1, 2)
    if own != side:
        grid = functional.interpolate(grid, (side, side), mode="bicubic", align_corners=False)
    return grid.flatten(2).transpose(1, 2).contiguous()


def _block(state: State) -> _Block:
    attention, mlp = state.at("attn"), state.at("mlp")
    return _Block(
        norm1=state.norm("norm1", eps=1e-6),
        norm2=state.norm("norm2", eps=1e-6),
        qkv=Product(attention.linear("qkv")),
        out=Product(attention.linear("proj")),
        lin1=Product(mlp.linear("fc1")),
        lin2=Product(mlp.linear("fc2")),
    )
