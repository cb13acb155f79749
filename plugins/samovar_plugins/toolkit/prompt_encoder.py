"""SAM's prompt encoder: points, boxes and masks as tokens, grouped so that no prompt is padded to another's length."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samovar.prompts import Prompts
from samovar_plugins.toolkit.layers import StateDict, gelu_, map_norm

__all__ = [
    "Group",
    "PointEncoder",
    "PromptEncoder",
    "SamPromptEncoder",
    "group_prompts",
]


@dataclass(frozen=True)
class Group:
    """Prompts of one image that are made of equally many points and boxes, and so are decoded together exactly.

    Attributes:
        index: N int64, which prompts.
        points: N×P×2 float32, (x, y) in the model's square; P may be 0.
        labels: N×P int8, 1 foreground, 0 background.
        boxes: N×4 float32 in the model's square, or None.
        masks: whether these prompts have a mask too.
    """

    index: NDArray[np.int64]
    points: NDArray[np.float32]
    labels: NDArray[np.int8]
    boxes: NDArray[np.float32] | None
    masks: bool

    @property
    def ambiguous(self) -> bool:
        """A single click and nothing else may mean a thing, its part or the whole that it belongs to."""
        return self.points.shape[1] == 1 and self.boxes is None and not self.masks


def group_prompts(prompts: Prompts, scale: tuple[float, float]) -> Iterator[Group]:
    """The prompts by their shape; coordinates multiplied by `scale` (x, y).

    The products are taken in double precision and rounded once, as SAM's predictor does.
    """
    factors = np.array(scale, np.float64)
    points = (prompts.points * factors).astype(np.float32)
    boxes = (prompts.boxes.reshape(-1, 2, 2) * factors).astype(np.float32).reshape(-1, 4)
    counts = np.diff(prompts.point_offsets)
    boxed = ~np.isnan(prompts.boxes[:, 0])
    masked = np.zeros(len(prompts), bool)
    if prompts.masks:
        masked = np.array([mask is not None for mask in prompts.masks])
    kind = (counts * 2 + boxed) * 2 + masked
    for value in sorted(set(kind.tolist())):  # np.unique would import numpy.ma, on the first click
        index = np.flatnonzero(kind == value)
        count = int(counts[index[0]])
        rows = prompts.point_offsets[index][:, None] + np.arange(count)
        yield Group(
            index=index,
            points=points[rows],
            labels=prompts.point_labels[rows],
            boxes=boxes[index] if boxed[index[0]] else None,
            masks=bool(masked[index[0]]),
        )


class PromptEncoder(Protocol):
    """Makes tokens of prompts. Holds weights only."""

    def tokens(self, group: Group) -> Tensor:
        """N×P'×C float32: the tokens of a group's points and boxes."""


class PointEncoder:
    """Random Fourier features of points, as in "Fourier Features Let Networks Learn High Frequency Functions" (2020).

    Args:
        frequencies: 2×(C/2) float32.
        side: length in pixels of the model's square.
    """

    def __init__(self, frequencies: Tensor, side: int) -> None:
        self.frequencies = frequencies
        self._side = side

    def unit(self, where: Tensor) -> Tensor:
        """…×2 positions in [0, 1] → …×C."""
        phase = 2 * math.pi * ((2 * where - 1) @ self.frequencies)
        return torch.cat([torch.sin(phase), torch.cos(phase)], -1)

    def pixels(self, points: Tensor) -> Tensor:
        """…×2 positions in pixels of the square → …×C. Half a pixel is added, as the published models were trained."""
        return self.unit((points + 0.5) / self._side)

    def grid(self, size: tuple[int, int]) -> Tensor:
        """The centres of a grid of `size` rows and columns, row by row: L×C."""
        device = self.frequencies.device
        y, x = ((torch.arange(count, device=device, dtype=torch.float32) + 0.5) / count for count in size)
        return self.unit(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).flatten(0, 1))


class SamPromptEncoder:
    """The prompt encoder of SAM and of the models that kept it. Computes in float32 whatever the model's dtype.

    Args:
        state: the module's weights under the names of the `segment-anything` package.
        side: length in pixels of the model's square.
        padded: say "no point" after boxes too (SAM 2), rather than only after points alone.
    """

    def __init__(self, state: StateDict, side: int, *, padded: bool = False) -> None:
        state = state.decoding().float32()
        self._padded = padded
        self._points = PointEncoder(state.tensor("pe_layer.positional_encoding_gaussian_matrix"), side)
        # Meta has one tensor for each of the four kinds of points, Hugging Face's SAM 2 one for all.
        kinds = ["weight"] if state.has("point_embeddings.weight") else [f"{kind}.weight" for kind in range(4)]
        self._kinds = torch.cat([state.tensor(f"point_embeddings.{kind}") for kind in kinds])
        self._padding = state.tensor("not_a_point_embed.weight")
        self.no_mask = state.tensor("no_mask_embed.weight")[0]
        self._masks = _MaskEncoder(state.at("mask_downscaling"))

    def position(self, size: tuple[int, int]) -> Tensor:
        """L×C float32: the encoding of the centre of each cell of a grid of `size` rows and columns."""
        return self._points.grid(size)

    def tokens(self, group: Group) -> Tensor:
        """N×P'×C float32: one token a point, two a box, and one that says "no point" (see `padded`)."""
        device, count = self._kinds.device, len(group.index)
        parts = [torch.zeros(count, 0, self._kinds.shape[1], device=device)]
        if group.points.shape[1]:
            labels = torch.from_numpy(group.labels.astype(np.int64)).to(device)
            parts.append(self._points.pixels(torch.from_numpy(group.points).to(device)) + self._kinds[labels])
        if group.boxes is not None:
            corners = torch.from_numpy(group.boxes).to(device).view(count, 2, 2)
            parts.append(self._points.pixels(corners) + self._kinds[2:])
        if len(parts) > 1 and (self._padded or group.boxes is None):
            parts.append(self._padding.expand(count, 1, -1))
        return torch.cat(parts, 1)

    def dense(self, mask: NDArray[np.float32]) -> Tensor:
        """L×C float32: the encoding of one mask prompt, 4h×4w logits."""
        return self._masks(torch.from_numpy(mask).to(self._kinds.device))


class _MaskEncoder:
    """Logits at four times the embedding's rows and columns → one vector a position."""

    def __init__(self, state: StateDict) -> None:
        self._layers = [(state.tensor(f"{index}.weight"), state.tensor(f"{index}.bias")) for index in (0, 3, 6)]
        self._norms = [state.norm(str(index), eps=1e-6) for index in (1, 4)]

    def __call__(self, mask: Tensor) -> Tensor:
        x = mask[None, None]
        for (weight, bias), norm in zip(self._layers, self._norms):
            x = gelu_(map_norm(functional.conv2d(x, weight, bias, stride=2), norm).contiguous())
        return functional.conv2d(x, *self._layers[2])[0].flatten(1).t()
