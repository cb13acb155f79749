"""SAM's mask decoder: from an image's embedding and prompt tokens to mask logits and predicted IoUs.

As in the published code it is a two-way transformer, in which a prompt's tokens and the image's positions attend to
each other, then an upscaling of the image, then products of it with each mask's vector. What differs is when things
are done:

- The first layer sees the same image for every prompt, so its projections of the image are made once (`Shared`) and all
  prompts of the image use them. The layers after it fold projections onto the tokens (see `attention`). A CPU that is
  asked many prompts of an image does without ever making the image as each of them sees it (see `low_rank`).
- On a CPU the image-sized work goes prompt by prompt, so that it stays in the cache, while the token-sized work is done
  for a whole chunk of prompts at once; on a GPU both are done for the whole chunk.
- A transposed convolution of stride 2 and kernel 2 is one matrix product per position, so nothing is laid out as a map
  before the last step. A CPU upscales a few hundred positions at a time: all intermediate results stay in its cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from samovar_plugins.toolkit.attention import Attention, FullImageState, ImageSide, ImageState, SharedProjections
from samovar_plugins.toolkit.layers import Activation, Linear, Mlp, Norm, PackedLinear, StateDict, gelu_, relu_
from samovar_plugins.toolkit.low_rank import LowRank, LowRankImageState, Tables

__all__ = [
    "MULTIMASK",
    "Decoded",
    "Decoder",
    "DecoderCore",
    "SamDecoder",
    "Shared",
    "Skips",
    "TwoWayTransformer",
    "Upscaler",
    "as_map",
    "as_rows",
    "best_of",
    "choose",
]

MULTIMASK = (1, 2, 3)
"""Of a decoder's four masks, those for the whole, the part and the sub-part; 0 is the one for unambiguous prompts."""

TILE = 1024
"""Positions done at a time on a CPU: their features take 2 MiB."""


@dataclass(frozen=True)
class Shared:
    """What all prompts of one image have in common.

    Attributes:
        image: L×C, the image embedding with the dense prompt added.
        first: the image's side of the first layer.
        size: rows and columns, L = rows · columns.
        tables: what makes each of many prompts cheaper, if there will be many.
        features: finer features of the image, of decoders that use them.
    """

    image: Tensor
    first: SharedProjections
    size: tuple[int, int]
    tables: Tables | None
    features: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class _Layer:
    """The tokens' side of a layer."""

    mix: Attention
    mlp: Mlp
    norms: tuple[Norm, Norm, Norm]


class TwoWayTransformer:
    """From tokens (N×T×C) and a `Shared` image to updated tokens and the image as each prompt sees it.

    Args:
        state: the module's weights, under the names of the `segment-anything` package.
        position: L×C, positional encoding of each position of the image.
        output_projection: what the image is multiplied by afterwards.
        activation: of the token MLPs.
        residual_first: whether the first self-attention is added to its input and positions enter the later ones'
            values and residual (EfficientSAM), rather than replacing it and entering only keys and queries (SAM).
        mlp_keys: names of the two layers of the token MLPs.
        heads: of every attention.
    """

    def __init__(
        self,
        state: StateDict,
        position: Tensor,
        output_projection: Linear,
        *,
        activation: Activation = relu_,
        residual_first: bool = False,
        mlp_keys: tuple[str, ...] = ("lin1", "lin2"),
        heads: int = 8,
    ) -> None:
        self._residual_first = residual_first
        layers = [state.at(f"layers.{index}") for index in range(state.count("layers"))]
        self._layers = tuple(
            _Layer(
                mix=Attention.of(layer.at("self_attn"), heads),
                mlp=layer.mlp("mlp", activation, mlp_keys),
                norms=(layer.norm("norm1"), layer.norm("norm2"), layer.norm("norm3")),
            )
            for layer in layers
        )
        reads = [layer.at("cross_attn_token_to_image") for layer in layers] + [state.at("final_attn_token_to_image")]
        writes = [layer.at("cross_attn_image_to_token") for layer in layers]
        self._side = ImageSide(
            reads=tuple(Attention.of(read, heads) for read in reads),
            writes=tuple(Attention.of(write, heads) for write in writes),
            norms=tuple(layer.norm("norm4") for layer in layers),
            position=position.to(state.dtype),
            output_projection=PackedLinear(output_projection),
        )
        self._low_rank = LowRank(self._side, output_projection)
        self._last_norm = state.norm("norm_final_attn")

    def share(self, image: Tensor, size: tuple[int, int], *, many_prompts: bool) -> Shared:
        """The part of the work that depends on the L×C image alone; more of it for `many_prompts`."""
        positioned = image + self._side.position
        read, write = self._side.reads[0], self._side.writes[0]
        keys = SharedProjections(*read.share_read(positioned, image), write.share_write(positioned))
        cheaper = many_prompts and image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64)
        return Shared(image, keys, size, self._low_rank.tables(image) if cheaper else None)

    def __call__(self, shared: Shared, tokens: Tensor, kept: Sequence[int]) -> tuple[Tensor, list[ImageState]]:
        """Answers for the tokens at `kept` (N×K×C), and the image as each of equally many prompts sees it.

        Args:
            shared: one image.
            tokens: N×T×C, output tokens first, then the prompt's.
            kept: positions of the tokens whose answers are wanted.
        """
        step = 1 if tokens.device.type == "cpu" else len(tokens)
        parts = [slice(start, start + step) for start in range(0, len(tokens), step)]
        queries, images = tokens, [self._seen(shared, tokens[part]) for part in parts]
        for number, layer in enumerate(self._layers):
            queries = layer.norms[0](self._mix(layer, queries, tokens, first=number == 0))
            asked = queries + tokens
            if number == 0:
                read = self._side.reads[0].read_shared(asked, shared.first)
            else:
                read = torch.cat([image.read(number, asked[at]) for at, image in zip(parts, images)])
            queries = layer.norms[1](queries + read)
            queries = layer.norms[2](queries + layer.mlp(queries))
            asked = queries + tokens
            for at, image in zip(parts, images):
                image.write(number, asked[at], queries[at])
        queries, tokens = (torch.stack([rows[:, place] for place in kept], 1) for rows in (queries, tokens))
        asked = queries + tokens
        read = torch.cat([image.read(len(self._layers), asked[at]) for at, image in zip(parts, images)])
        return self._last_norm(queries + read), images

    def _seen(self, shared: Shared, tokens: Tensor) -> ImageState:
        """The image as it is for n×T×C tokens that have not written to it yet."""
        if shared.tables is not None and self._low_rank.fits(tokens):
            return LowRankImageState(self._low_rank, shared.tables, shared.first)
        return FullImageState(self._side, shared.image.expand(len(tokens), -1, -1), shared.first)

    def _mix(self, layer: _Layer, queries: Tensor, tokens: Tensor, *, first: bool) -> Tensor:
        """Self-attention among the tokens."""
        if self._residual_first:
            queries = queries if first else queries + tokens
            return queries + layer.mix.among(queries, queries, queries)
        if first:
            return layer.mix.among(queries, queries, queries)
        placed = queries + tokens
        return queries + layer.mix.among(placed, placed, queries)


@dataclass(frozen=True)
class Skips:
    """High-resolution features of the image that are added on the way up (SAM 2), as `as_rows` orders them.

    Attributes:
        middle: L×(4·C₁), added before the normalisation.
        last: L×(16·C₂), added before the last activation.
    """

    middle: Tensor
    last: Tensor


def _deconvolution(state: StateDict) -> Linear:
    """…×in → …×4·out, the four being the rows and columns of the kernel."""
    weight, bias = state.tensor("weight"), state.tensor("bias")
    return Linear(weight.permute(2, 3, 1, 0).flatten(0, 2).contiguous(), bias.repeat(4))


class Upscaler:
    """Four times the rows and columns.

    Args:
        first, last: weights of the two transposed convolutions.
        norm: the normalisation between them: over channels, or over the whole map if `whole`.
        whole: see `norm` (EfficientSAM).

    Attributes:
        first: the first of the two, C×4C₁, by which the image has been multiplied when it gets here.
        channels: C₂, of the features that it makes.
    """

    def __init__(self, first: StateDict, norm: Norm, last: StateDict, *, whole: bool = False) -> None:
        self.first = _deconvolution(first)
        self._norm = norm
        deconvolution = _deconvolution(last)
        self.channels = len(deconvolution.weight) // 4
        self._last = PackedLinear(deconvolution)
        self._whole = whole

    @classmethod
    def of(cls, state: StateDict) -> Upscaler:
        """From SAM's module `output_upscaling`."""
        return cls(state.at(0), state.norm("1", eps=1e-6), state.at(3))

    def features(self, x: Tensor, skips: Skips | None = None) -> Tensor:
        """N×L×4C₁, which may be overwritten → N×(16·L)×C₂, in the order of `as_map`."""
        count, positions = x.shape[:2]
        if skips is not None:
            x += skips.middle
        x = x.unflatten(-1, (4, -1))
        if self._whole:
            x = functional.group_norm(
                x.flatten(1, 2).transpose(1, 2), 1, self._norm.weight, self._norm.bias, self._norm.eps
            )
            x = gelu_(x.transpose(1, 2).contiguous()).unflatten(1, (-1, 4))
        else:
            x = gelu_(self._norm(x))
        x = self._last(x)
        if skips is not None:
            x += skips.last.unflatten(-1, (4, -1))
        return gelu_(x).reshape(count, 16 * positions, -1)

    def __call__(self, image: ImageState, tokens: Tensor, size: tuple[int, int], skips: Skips | None = None) -> Tensor:
        """Logits N×M×4h×4w of mask tokens N×M×C₂ on the image, as N prompts see it, of `size` h, w."""
        positions = size[0] * size[1]
        tile = positions if self._whole or tokens.device.type != "cpu" else TILE
        logits = tokens.new_empty(*tokens.shape[:2], 16 * positions)
        for start in range(0, positions, tile):
            stop = min(start + tile, positions)
            part = None if skips is None else Skips(skips.middle[start:stop], skips.last[start:stop])
            features = self.features(image.project(start, stop), part)
            logits[..., 16 * start : 16 * stop] = torch.bmm(tokens, features.transpose(1, 2))
        return as_map(logits, size)


def as_map(rows: Tensor, size: tuple[int, int]) -> Tensor:
    """N×M×(16·L) → N×M×4h×4w: undo the order y, x, then row and column within it, then within that."""
    cells = rows.unflatten(-1, (*size, 2, 2, 2, 2))
    return cells.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*rows.shape[:2], 4 * size[0], 4 * size[1])


def as_rows(features: Tensor, size: tuple[int, int]) -> Tensor:
    """C×2h×2w or C×4h×4w features of an image of `size` h, w → L×4C or L×16C, in the order that `Skips` needs."""
    height, width = size
    if features.shape[1] == 2 * height:
        cells = features.unflatten(1, (height, 2)).unflatten(3, (width, 2))
        return cells.permute(1, 3, 2, 4, 0).reshape(height * width, -1)
    cells = features.unflatten(1, (height, 2, 2)).unflatten(4, (width, 2, 2))
    return cells.permute(1, 4, 2, 5, 3, 6, 0).reshape(height * width, -1)


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

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many_prompts: bool) -> Shared:
        """What all prompts of one image have in common.

        Args:
            tensors: the embedding, by the encoder's names.
            dense: L×C, the encoding of a mask prompt, or None where there is none.
            many_prompts: prepare for more prompts than a few.
        """

    def __call__(self, shared: Shared, prompt: Tensor, *, multimask_output: bool, best_only: bool) -> Decoded:
        """Masks for N×P×C prompt tokens.

        Args:
            multimask_output: from the three mask tokens for ambiguous prompts, rather than the one for others.
            best_only: of these, only the one with the highest predicted IoU.
        """


class DecoderCore:
    """What SAM's decoder and those of its descendants have in common; each is made around one.

    Args:
        state: the module's weights under the names of the `segment-anything` package.
        position: L×C, the prompt encoder's encoding of the embedding's grid.
        no_mask: C, the dense prompt that stands for "no mask given"; None for a model that takes no masks.
        tokens: the names of the output tokens, in order.
        upscale: by default SAM's.
        head: reads what makes a mask's vector, or predicted IoUs: module, name, and number of outputs.
        transformer: options of `TwoWayTransformer`.
    """

    def __init__(
        self,
        state: StateDict,
        position: Tensor,
        no_mask: Tensor | None,
        *,
        tokens: Sequence[str] = ("iou_token", "mask_tokens"),
        upscale: Upscaler | None = None,
        head: Callable[[StateDict, str, int], Mlp] | None = None,
        **transformer: Any,
    ) -> None:
        head = head or (lambda module, name, outputs: module.mlp(name, relu_, outputs=outputs))
        self.dtype = state.dtype
        self.upscale = upscale or Upscaler.of(state.at("output_upscaling"))
        names = [f"output_hypernetworks_mlps.{index}" for index in range(1 + len(MULTIMASK))]
        self.masks = [head(state, name, self.upscale.channels) for name in names]
        self.ious = head(state, "iou_prediction_head", len(names))
        self._transformer = TwoWayTransformer(state.at("transformer"), position, self.upscale.first, **transformer)
        self._output_tokens = torch.cat([state.tensor(f"{name}.weight") for name in tokens])
        self._no_mask = no_mask

    def share(
        self, image: Tensor, dense: Tensor | None, *, many_prompts: bool, features: Sequence[Tensor] = ()
    ) -> Shared:
        """See `Decoder`, for a C×h×w image embedding."""
        rows = image.flatten(1).t().float()
        added = self._no_mask if dense is None else dense
        rows = rows.to(self.dtype).contiguous() if added is None else (rows + added).to(self.dtype)
        shared = self._transformer.share(rows, (image.shape[1], image.shape[2]), many_prompts=many_prompts)
        return replace(shared, features=tuple(features))

    def attend(self, shared: Shared, prompt: Tensor, kept: Sequence[int]) -> tuple[Tensor, list[ImageState]]:
        """The transformer's answers for the output tokens at `kept`, and the image as the prompts see it."""
        tokens = torch.cat([self._output_tokens.expand(len(prompt), -1, -1), prompt.to(self.dtype)], 1)
        return self._transformer(shared, tokens, kept)

    def draw(self, images: Sequence[ImageState], masks: Tensor, shared: Shared, skips: Skips | None = None) -> Tensor:
        """Logits N×M×4h×4w of N×M×C₂ masks' vectors."""
        parts = zip(images, masks.chunk(len(images)))
        return torch.cat([self.upscale(image, part, shared.size, skips) for image, part in parts])


class SamDecoder:
    """The decoder of SAM and MobileSAM; EfficientSAM's with its options.

    Args:
        state, position, no_mask, options: see `DecoderCore`.
    """

    def __init__(self, state: StateDict, position: Tensor, no_mask: Tensor | None, **options: Any) -> None:
        self._core = DecoderCore(state.decoding(), position, no_mask, **options)

    def share(self, tensors: dict[str, Tensor], dense: Tensor | None, *, many_prompts: bool) -> Shared:
        """See `Decoder`. The embedding is "image", C×h×w."""
        return self._core.share(tensors["image"], dense, many_prompts=many_prompts)

    def __call__(self, shared: Shared, prompt: Tensor, *, multimask_output: bool, best_only: bool) -> Decoded:
        """See `Decoder`."""
        wanted = MULTIMASK if multimask_output else (0,)
        answers, images = self._core.attend(shared, prompt, [0, *(1 + mask for mask in wanted)])
        ious, masks = choose(self._core, answers, wanted, best_only)
        return Decoded(self._core.draw(images, masks, shared).float(), ious.float())


def choose(core: DecoderCore, answers: Tensor, wanted: Sequence[int], best_only: bool) -> tuple[Tensor, Tensor]:
    """Predicted IoUs (N×M) and the vectors that make the masks (N×M×C₂).

    Args:
        core: whose heads are asked.
        answers: N×(1+M)×C, for the IoU token and those of the masks that are wanted.
        wanted: M, which of the decoder's masks.
        best_only: keep, of the M masks, the one with the highest predicted IoU.
    """
    # No indexing by lists: on a GPU each list is a transfer that waits for all work before it.
    every = core.ious(answers[:, 0])
    ious = torch.stack([every[:, mask] for mask in wanted], 1)
    vectors = torch.stack([core.masks[mask](answers[:, 1 + index]) for index, mask in enumerate(wanted)], 1)
    return best_of(ious, vectors) if best_only and len(wanted) > 1 else (ious, vectors)


def best_of(ious: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Of N×M IoUs and N×M×C vectors those of the highest IoU: N×1 and N×1×C."""
    top = ious.argmax(1)[:, None]
    return ious.gather(1, top), vectors.take_along_dim(top[..., None], 1)
