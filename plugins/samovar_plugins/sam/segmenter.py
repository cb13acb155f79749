"""`SamSegmenter`: an encoder, a prompt encoder and a mask decoder behind the runtime's interface."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar.embedding import Embedding
from samovar.errors import InputError, PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar.types import Kind
from samovar_plugins.sam.answers import Answers
from samovar_plugins.sam.decoder import Decoded, Decoder
from samovar_plugins.sam.encoding import Encoder, Frame
from samovar_plugins.sam.on_host import on_host
from samovar_plugins.sam.prompts import PromptEncoder, group_prompts
from samovar_plugins.sam.replay import Replayed
from samovar_plugins.sam.two_way import Shared

__all__ = ["Parts", "SamSegmenter"]

MANY = 8
"""Prompts of one image from which on it pays to prepare for many."""

CERTAIN = 1e-3
"""A mask prompt given as pixels becomes logits of this probability of being wrong, as in micro-sam: ±6.9."""


@dataclass(frozen=True)
class Parts:
    """What a model of this family consists of.

    Attributes:
        encoder, prompts, decoder: its three networks.
        frame: how an image gets into the encoder's square frame, and masks out of it.
        grid: rows and columns of the embedding; logits have four times as many.
        dense: encodes a mask prompt (logits of four times the grid) as L×C; None if the model takes no masks.
        limit: logits that are handed out for refining lie between −limit and limit; None for no bound.
    """

    encoder: Encoder
    prompts: PromptEncoder
    decoder: Decoder
    frame: Frame
    grid: tuple[int, int]
    dense: Callable[[NDArray[np.float32]], Tensor] | None
    limit: float | None = None


@dataclass(frozen=True)
class _Last:
    """Attributes: asked: how many prompts `shared` has been made or used for."""

    embedding: weakref.ref[Embedding]
    shared: Shared
    asked: int

    @property
    def many(self) -> bool:
        return self.asked >= MANY


@final
class SamSegmenter:
    """A model of the SAM family as a `Segmenter`.

    Coordinates reach the model as its published predictor would pass them: multiplied by the scale of the frame.
    Without `multimask`, a single click and nothing else is ambiguous, and is answered with the mask of the highest
    predicted IoU of the three; every other prompt is answered with the mask token made for it. Scores are predicted
    IoUs exactly as the model gives them; a network may go slightly past 1.

    Args:
        parts: the model.
        fingerprint: see `Segmenter`.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: of weights and activations.
    """

    def __init__(self, parts: Parts, *, fingerprint: str, device: str, dtype: torch.dtype) -> None:
        self._parts = parts
        self._fingerprint = fingerprint
        self._device = device
        self._dtype = dtype
        self._logits = 4 * parts.grid[0], 4 * parts.grid[1]
        self._encoder = Replayed(parts.encoder) if device.startswith("cuda") else parts.encoder
        # What the prompts of the last image shared: a memo, replaced as a whole, so that threads only ever miss.
        self._last: _Last | None = None

    @property
    def fingerprint(self) -> str:
        """Identifies weights, configuration, preprocessing and dtype."""
        return self._fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """Points and boxes; masks if the model takes them."""
        return frozenset({"points", "box"} if self._parts.dense is None else {"points", "box", "mask"})

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._device

    @property
    def side(self) -> int:
        """Of the square that the encoder takes, in pixels."""
        return self._parts.encoder.frame

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding an image. On a CPU one image at a time: a larger batch would not fit the cache any better."""
        step = 1 if self._device == "cpu" else 8
        with torch.inference_mode():
            parts = [self._encode(images[start : start + step]) for start in range(0, len(images), step)]
        return [embedding for part in parts for embedding in part]

    def _encode(self, images: Sequence[Image]) -> list[Embedding]:
        frames = torch.stack([self._parts.frame.pixels(image) for image in images])
        found = self._encoder(frames.to(self._device, self._dtype, non_blocking=True))
        if self._device == "cpu" and self._dtype == torch.float32:
            kept: dict[str, Any] = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in found.items()}
        else:
            kept = {name: tensor.contiguous() for name, tensor in found.items()}
        return [
            Embedding(
                {name: tensors[index] for name, tensors in kept.items()},
                image.width,
                image.height,
                self._fingerprint,
                compressible=frozenset(kept),
            )
            for index, image in enumerate(images)
        ]

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """See `Segmenter`.

        Raises:
            InputError: an embedding of another segmenter.
            PromptError: mask logits of another model's shape, or more points than the model takes.
        """
        for embedding in embeddings:
            if embedding.fingerprint != self._fingerprint:
                raise InputError(
                    f"expected an embedding by {self._fingerprint!r}; got one by {embedding.fingerprint!r}; "
                    "encode the image with this model"
                )
        with torch.inference_mode():
            return [self._decode(*pair, options) for pair in zip(embeddings, prompts)]

    def decode_bytes(self, width: int, height: int) -> int:
        """Three masks' logits and run lengths; the decoder's own buffers are bounded whatever the number of prompts."""
        return 3 * (4 * self._logits[0] * self._logits[1] + 32 * (width + height))

    def _decode(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        width, height = embedding.width, embedding.height
        answers = Answers(self._parts.frame.enlargement(self._logits, width, height), options, self._parts.limit)
        for answered in on_host(self._chunks(embedding, prompts, options)):
            answers.add(*answered)
        return answers.masks(width, height)

    def _chunks(
        self, embedding: Embedding, prompts: Prompts, options: DecodeOptions
    ) -> Iterator[tuple[NDArray[np.int64], Decoded]]:
        """Which prompts, and their answers; each chunk is begun when it is asked for."""
        parts = self._parts
        for group in group_prompts(prompts, parts.frame.scale(embedding.width, embedding.height)):
            # Of the whole group at once: what comes from the host stops a GPU.
            tokens = parts.prompts.tokens(group)
            several = options.multimask or group.ambiguous
            shared = None if group.masks else self._shared(embedding, len(tokens))
            step = 1 if shared is None else 4 if self._device == "cpu" else 64
            for start in range(0, len(tokens), step):
                index = group.index[start : start + step]
                seen = shared or self._refined(embedding, prompts, index[0])
                answer = parts.decoder(seen, tokens[start : start + step], several=several, best=not options.multimask)
                yield index, answer

    def _shared(self, embedding: Embedding, count: int) -> Shared:
        """What this image's prompts share, of which `count` more are to be answered."""
        last = self._last
        known = last is not None and last.embedding() is embedding
        asked = count + (last.asked if last is not None and known else 0)
        if last is not None and known and (last.many or asked < MANY):
            shared = last.shared
        else:
            shared = self._parts.decoder.share(self._tensors(embedding), None, many=asked >= MANY)
        self._last = _Last(weakref.ref(embedding), shared, asked)
        return shared

    def _refined(self, embedding: Embedding, prompts: Prompts, index: int) -> Shared:
        """What a prompt with a mask starts from; it shares nothing with others."""
        mask = prompts.masks[index]
        if mask is None or self._parts.dense is None:
            raise PromptError("expected prompts without masks; this model takes none; give points or a box")
        if isinstance(mask, np.ndarray):
            if mask.shape != self._logits:
                raise PromptError(
                    f"mask logits must be {self._logits[0]}×{self._logits[1]} for this model; got {mask.shape}; "
                    "pass logits of its own answers, or the mask as pixels"
                )
            logits = np.array(mask)
        else:
            covered = self._parts.frame.shrink(mask.to_array()[0], self._logits)
            sure = np.clip(covered, CERTAIN, 1 - CERTAIN)
            logits = np.log(sure / (1 - sure))
        return self._parts.decoder.share(self._tensors(embedding), self._parts.dense(logits), many=False)

    def tensor(self, embedding: Embedding, name: str) -> Tensor:
        """One of an embedding's tensors, where the model runs."""
        return _tensor(embedding.tensors[name]).to(self._device)

    def _tensors(self, embedding: Embedding) -> dict[str, Tensor]:
        return {name: self.tensor(embedding, name) for name in embedding.tensors}


def _tensor(value: Any) -> Tensor:
    """A tensor that may be read. Torch warns of read-only arrays, so those are copied."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
