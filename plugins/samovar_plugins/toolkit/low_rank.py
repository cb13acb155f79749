"""The image as one prompt sees it, without ever making it.

What T tokens write to the image is, in every layer, a mixture of heads · (T − 1) vectors and a constant, and a
normalisation only centres and scales each position and weights the channels. So the image that a prompt sees remains

    scale[l] · base[l] + Σⱼ mixing[j, l] · vectors[j] + offset

where only `base` has as many channels as the image, and it is the same for all prompts. All that reads the image is
linear, and goes over `base` once an image (`Tables`) and over the few vectors once a prompt. A box is seven tokens: two
layers mix 98 vectors, and 1.5 billion operations, many of them on maps that do not fit a CPU's cache, become 0.8. The
square of the deviation by which a normalisation divides is a quadratic form in the mixture. All of this is algebra: no
approximation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from samovar_plugins.toolkit.attention import Attention, ImageSide, SharedProjections
from samovar_plugins.toolkit.layers import Linear

__all__ = ["LowRank", "LowRankImageState", "Tables"]


@dataclass(frozen=True)
class Tables:
    """What all prompts of one image of L positions multiply by; `base` above as all that reads it sees it.

    Attributes:
        keys, values: S+1 each, heads×D×L, of the reading in each layer and after the last; none of the first layer's.
        queries: S, heads×D×L, of the writing; none of the first layer's.
        crossed: S, for each layer whose vectors are in the mixture by then, heads×D×L: their products with the base.
        offsets: S, (layer+1)×L: the products with the base of what each of these layers found and wrote everywhere.
        energy: S×L, the base's sum of squares, centred, at each normalisation.
        projected: L×out, through the output projection.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    queries: tuple[Tensor, ...]
    crossed: tuple[tuple[Tensor, ...], ...]
    offsets: tuple[Tensor, ...]
    energy: Tensor
    projected: Tensor


@final
class LowRank:
    """What does not depend on the image: weights folded onto one another.

    Args:
        side: the model's.
        output_projection: the side's, as plain weights.
    """

    def __init__(self, side: ImageSide, output_projection: Linear) -> None:
        self.side = side
        self._output = output_projection

    def fits(self, tokens: Tensor) -> bool:
        """Whether N×T×C tokens are few enough for the mixture to be smaller than the image."""
        return all(attention.folds(tokens) for attention in self.side.reads)

    # ---------------------------------------------------------------------------------------------- constants

    @cached_property
    def offset(self) -> tuple[Tensor, ...]:
        """S+1: what every position has in common before each layer, and after the last."""
        return (torch.zeros_like(self.side.norms[0].bias), *(norm.bias for norm in self.side.norms))

    @cached_property
    def written(self) -> tuple[Tensor, ...]:
        """S: the offset, and what each layer writes everywhere whatever is asked."""
        biases = (write.out.bias for write in self.side.writes)
        return tuple(offset if bias is None else offset + bias for offset, bias in zip(self.offset, biases))

    @cached_property
    def key_places(self) -> tuple[Tensor, ...]:
        """S+1, heads×D×L: the keys of positions and offset. A key's bias shifts all of a token's scores alike."""
        return tuple(
            _by_head(read, read.k.weight @ (self.side.position + offset).t())
            for read, offset in zip(self.side.reads, self.offset)
        )

    @cached_property
    def query_places(self) -> tuple[Tensor, ...]:
        """S, heads×D×L: the queries of positions and offset."""
        return tuple(
            _by_head(write, write.q(self.side.position + offset).t().contiguous())
            for write, offset in zip(self.side.writes, self.offset)
        )

    @cached_property
    def value_offsets(self) -> tuple[Tensor, ...]:
        """S+1: the value of the offset."""
        return tuple(read.v(offset) for read, offset in zip(self.side.reads, self.offset))

    @cached_property
    def projected_offset(self) -> Tensor:
        """The offset after the last layer, through the output projection."""
        return self._output(self.offset[-1])

    def project(self, vectors: Tensor) -> Tensor:
        """K×C → K×out."""
        return vectors @ self._output.weight.t()

    # ------------------------------------------------------------------------------------------------- tables

    @cached_property
    def _folded(self) -> Tensor:
        """Rows×C: everything that the base of the first layer is multiplied by, in the order of `tables`."""
        side, depth = self.side, len(self.side.norms)
        channels = side.position.shape[1]
        centre = torch.eye(channels, dtype=torch.float64, device=side.position.device) - 1 / channels
        steps = [centre * norm.weight.double() for norm in side.norms]
        rows = []
        base = torch.eye(channels, dtype=torch.float64, device=side.position.device)
        added: list[Tensor] = []  # the vectors' outputs of each layer so far, and its offset, as they are by now
        for layer in range(depth + 1):
            if layer:
                rows += [side.reads[layer].k.weight.double() @ base.t(), side.reads[layer].v.weight.double() @ base.t()]
            if layer == depth:
                break
            if layer:
                rows.append(side.writes[layer].q.weight.double() @ base.t())
            added += [side.writes[layer].out.weight.double().t(), self.written[layer].double()[None]]
            rows += [each @ centre @ base.t() for each in added]
            base = base @ steps[layer]
            added = [each @ steps[layer] for each in added]
        rows.append(self._output.weight.double() @ base.t())
        return torch.cat(rows).to(side.position.dtype)

    def tables(self, image: Tensor) -> Tables:
        """Of an L×C image."""
        side, depth = self.side, len(self.side.norms)
        out = len(self._output.weight)
        every = self._folded[:-out] @ image.t()
        projected = image @ self._folded[-out:].t()
        start = 0

        def take(attention: Attention) -> Tensor:
            nonlocal start
            start += attention.inner
            return _by_head(attention, every[start - attention.inner : start])

        nothing = image.new_empty(0)
        keys, values, queries, crossed, offsets, energy = [nothing], [nothing], [], [], [], []
        base = image
        for layer in range(depth + 1):
            if layer:
                keys.append(take(side.reads[layer]))
                values.append(take(side.reads[layer]))
            if layer == depth:
                break
            queries.append(take(side.writes[layer]) if layer else nothing)
            products, constant = [], []
            for earlier in range(layer + 1):
                products.append(take(side.writes[earlier]))
                constant.append(every[start])
                start += 1
            crossed.append(tuple(products))
            offsets.append(torch.stack(constant))
            base = base - base.mean(1, keepdim=True)
            energy.append(base.square().sum(1))
            base = base * side.norms[layer].weight
        return Tables(
            tuple(keys), tuple(values), tuple(queries), tuple(crossed), tuple(offsets), torch.stack(energy), projected
        )


@final
class LowRankImageState:
    """A `ImageState` of one prompt (n = 1).

    Args:
        model: weights.
        tables: the image.
        first: the image's side of the first layer.
    """

    def __init__(self, model: LowRank, tables: Tables, first: SharedProjections) -> None:
        self._model = model
        self._tables = tables
        self._first = first
        self._scale: Tensor | float = 1.0
        self._mixing = first.keys.new_empty(0, first.keys.shape[2])
        self._vectors = first.keys.new_empty(0, model.side.position.shape[1])
        # Of each layer, heads×(T−1)×D and heads×1×D: the values of the mixture, and those that are written everywhere.
        self._written: list[tuple[Tensor, Tensor]] = []

    def read(self, layer: int, tokens: Tensor) -> Tensor:
        """See `ImageState`. Not the first layer's, which all prompts read alike."""
        at = self._model.side.reads[layer]
        asked = at.split(at.q(tokens[0])) * at.scale
        scores = self._scores(asked, at.k.weight, self._tables.keys[layer], self._model.key_places[layer])
        weights = torch.softmax(scores, -1)
        mixed = weights.flatten(0, 1) @ self._mixing.t()
        read = torch.bmm(mixed.unflatten(0, (at.heads, -1)), at.split(self._vectors @ at.v.weight.t()))
        read.baddbmm_(weights.mul_(self._scale), self._tables.values[layer].transpose(1, 2))
        return at.out(at.merge(read) + self._model.value_offsets[layer])[None]

    def write(self, layer: int, tokens: Tensor, values: Tensor) -> None:
        """See `ImageState`."""
        at, norm = self._model.side.writes[layer], self._model.side.norms[layer]
        offered = at.split(at.k(tokens[0])) * at.scale
        if layer == 0:
            scores = torch.bmm(offered, self._first.queries)
        else:
            scores = self._scores(offered, at.q.weight, self._tables.queries[layer], self._model.query_places[layer])
        weights = torch.softmax(scores, 1)
        # A head's weights sum to one: what its last token writes is written everywhere, and the others the difference.
        written = at.split(at.v(values[0]))
        self._written.append((written[:, :-1] - written[:, -1:], written[:, -1:]))
        new, last = (part @ at.per_head(at.out.weight.t()) for part in self._written[-1])
        constant = last.sum(0) + self._model.written[layer]
        vectors = torch.cat([self._vectors, new.flatten(0, 1), constant])
        vectors = vectors - vectors.mean(1, keepdim=True)
        mixing = weights.new_empty(len(vectors), weights.shape[2])
        start = len(self._mixing)
        mixing[:start] = self._mixing
        mixing[start:-1].unflatten(0, new.shape[:2]).copy_(weights[:, :-1])
        mixing[-1] = 1
        # |scale · base + vectorsᵀ · mixing|² of each position, the mixed terms first.
        products = self._crossed(layer, mixing).mul_(2 * self._scale).addmm_(vectors @ vectors.t(), mixing)
        square = self._tables.energy[layer] * self._scale * self._scale + products.mul_(mixing).sum(0)
        # Rounding may leave less than nothing of a position that is the same in all channels.
        inverse = torch.rsqrt(square.clamp_(min=0).div_(vectors.shape[1]).add_(norm.eps))
        self._scale = inverse * self._scale
        self._mixing = mixing.mul_(inverse)
        self._vectors = vectors * norm.weight

    def project(self, start: int, stop: int) -> Tensor:
        """See `ImageState`."""
        scale = self._scale[start:stop, None] if isinstance(self._scale, Tensor) else self._scale
        found = torch.addcmul(self._model.projected_offset, self._tables.projected[start:stop], scale)
        return found.addmm_(self._mixing[:, start:stop].t(), self._projected)[None]

    @cached_property
    def _projected(self) -> Tensor:
        """The vectors through the output projection; asked for once all layers have written."""
        return self._model.project(self._vectors)

    def _scores(self, asked: Tensor, weight: Tensor, table: Tensor, places: Tensor) -> Tensor:
        """heads×T×L products of heads×T×D with the image, projected by `weight` (inner×C)."""
        at = self._model.side.reads[0]
        scores = torch.bmm(asked, table).mul_(self._scale).baddbmm_(asked, places)
        mixed = torch.bmm(asked, at.split(self._vectors @ weight.t()).transpose(1, 2))
        scores.flatten(0, 1).addmm_(mixed.flatten(0, 1), self._mixing)
        return scores

    def _crossed(self, layer: int, like: Tensor) -> Tensor:
        """The base's products with the vectors, in the order of the mixture."""
        found = torch.empty_like(like)
        start = 0
        tables = self._tables.crossed[layer], self._tables.offsets[layer]
        for (new, last), table, offset in zip(self._written, *tables):
            stop = start + new.shape[0] * new.shape[1]
            torch.bmm(new, table, out=found[start:stop].unflatten(0, new.shape[:2]))
            torch.add(torch.bmm(last, table).sum(0), offset, out=found[stop : stop + 1])
            start = stop + 1
        return found


def _by_head(attention: Attention, x: Tensor) -> Tensor:
    """inner×L → heads×D×L."""
    return x.unflatten(0, (attention.heads, -1))
