"""`SamSegmenter`: an encoder, a prompt encoder and a mask decoder behind the runtime's interface.

On a CUDA device the encoder of one image is recorded once as a CUDA graph and replayed (`CudaGraphEncoder`), and
answers come to the host without the device ever waiting for it (`_to_host`).
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samovar.embedding import Embedding
from samovar.errors import InputError, PromptError
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar.tracking import Tracker
from samovar.types import Kind
from samovar_plugins.toolkit.layers import StateDict
from samovar_plugins.toolkit.mask_decoder import Decoded, Decoder, SamDecoder, Shared
from samovar_plugins.toolkit.outlines import Outlines, outline, stability
from samovar_plugins.toolkit.prompt_encoder import PromptEncoder, SamPromptEncoder, group_prompts
from samovar_plugins.toolkit.resize import Interpolation, Resize, ResizeLongestSide

if TYPE_CHECKING:
    from samovar.protocols import EmbeddingCache

__all__ = ["CudaGraphEncoder", "Encoder", "MaskBuilder", "SamComponents", "SamSegmenter", "SamVideoSegmenter"]

MANY = 8
"""Prompts of one image from which on it pays to prepare for many."""

CERTAIN = 1e-3
"""A mask prompt given as pixels becomes logits of this probability of being wrong, as in micro-sam: ±6.9."""


class Encoder(Protocol):
    """An image encoder. Holds weights only."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that it takes."""

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """B×3×S×S normalised pixels → named tensors, each B×…"""


@dataclass(frozen=True)
class SamComponents:
    """What a model of this family consists of.

    Attributes:
        encoder, prompts, decoder: its three networks.
        resize: how an image gets into the encoder's square, and masks out of it.
        grid: rows and columns of the embedding; logits have four times as many.
        dense: encodes a mask prompt (logits of four times the grid) as L×C; None if the model takes no masks.
        limit: logits that are handed out for refining lie between −limit and limit; None for no bound.
        tracker: makes a tracker of the same weights, of the segmenter and what it is to encode frames through.
    """

    encoder: Encoder
    prompts: PromptEncoder
    decoder: Decoder
    resize: Resize
    grid: tuple[int, int]
    dense: Callable[[NDArray[np.float32]], Tensor] | None
    limit: float | None = None
    tracker: Callable[[SamSegmenter, EmbeddingCache | None], Tracker] | None = None

    @classmethod
    def around(
        cls,
        encoder: Encoder,
        state: StateDict,
        resize: Resize | None = None,
        decoder: Callable[[StateDict, Tensor, Tensor], Decoder] = SamDecoder,
    ) -> SamComponents:
        """SAM's prompt encoder and decoder, under the names of Meta's checkpoints, around an encoder of one's own.

        Args:
            encoder: whose "image" has a 16th of the rows and columns of its square.
            state: of the whole checkpoint.
            resize: by default SAM's.
            decoder: one that is made as `SamDecoder` is.
        """
        side = encoder.image_size
        grid = (side // 16, side // 16)
        prompts = SamPromptEncoder(state.at("prompt_encoder"), side)
        decode = decoder(state.at("mask_decoder"), prompts.position(grid), prompts.no_mask)
        return cls(encoder, prompts, decode, resize or ResizeLongestSide(side), grid, prompts.dense)


class _Last(NamedTuple):
    """Attributes: asked: how many prompts `shared` has been made or used for."""

    embedding: weakref.ref[Embedding]
    shared: Shared
    asked: int


class SamSegmenter:
    """A model of the SAM family as a `Segmenter`.

    Coordinates reach the model as its published predictor would pass them: multiplied by the scale of its resize.
    Without `multimask`, a single click and nothing else is ambiguous, and is answered with the mask of the highest
    predicted IoU of the three; every other prompt is answered with the mask token made for it. Scores are predicted
    IoUs exactly as the model gives them; a network may go slightly past 1.

    Args:
        components: the model.
        fingerprint: see `Segmenter`.
        device: "cpu", "cuda", "cuda:1" or "mps".
        dtype: of weights and activations.
    """

    def __init__(
        self, components: SamComponents, *, fingerprint: Fingerprint | str, device: str, dtype: torch.dtype
    ) -> None:
        self.components = components
        self._fingerprint = Fingerprint.of(fingerprint)
        self._device = device
        self._dtype = dtype
        self._logits = 4 * components.grid[0], 4 * components.grid[1]
        self._encoder = CudaGraphEncoder(components.encoder) if device.startswith("cuda") else components.encoder
        # What the prompts of the last image shared: a memo, replaced as a whole, so that threads only ever miss.
        self._last: _Last | None = None

    @property
    def fingerprint(self) -> Fingerprint:
        """Identifies weights, configuration, preprocessing and dtype."""
        return self._fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """Points and boxes; masks if the model takes them."""
        return frozenset({"points", "box"} if self.components.dense is None else {"points", "box", "mask"})

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Of weights and activations."""
        return self._dtype

    @property
    def side(self) -> int:
        """Of the square that the encoder takes, in pixels."""
        return self.components.encoder.image_size

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding an image. On a CPU one image at a time: a larger batch would not fit the cache any better."""
        step = 1 if self._device == "cpu" else 8
        with torch.inference_mode():
            parts = [self._encode(images[start : start + step]) for start in range(0, len(images), step)]
        return [embedding for part in parts for embedding in part]

    def _encode(self, images: Sequence[Image]) -> list[Embedding]:
        pixels = torch.stack([self.components.resize.pixels(image) for image in images])
        found = self._encoder(pixels.to(self._device, self._dtype, non_blocking=True))
        if self._device == "cpu" and self._dtype == torch.float32:
            kept: dict[str, Any] = {name: np.ascontiguousarray(tensor.numpy()) for name, tensor in found.items()}
        else:
            kept = {name: tensor.contiguous() for name, tensor in found.items()}
        return [
            Embedding(
                {name: tensors[index] for name, tensors in kept.items()},
                image.width,
                image.height,
                self._fingerprint.encoder,
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
            if embedding.fingerprint != self._fingerprint.encoder:
                raise InputError(
                    f"expected an embedding by {self._fingerprint.encoder!r}; got one by {embedding.fingerprint!r}; "
                    "encode the image with this model"
                )
        with torch.inference_mode():
            return [self._decode(*pair, options) for pair in zip(embeddings, prompts)]

    def decode_bytes(self, width: int, height: int) -> int:
        """Three masks' logits and run lengths; the decoder's own buffers are bounded whatever the number of prompts."""
        return 3 * (4 * self._logits[0] * self._logits[1] + 32 * (width + height))

    def logits_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """See `samovar.protocols.PlacesLogits`."""
        across, down = self.components.resize.scale(width, height)
        return 0.0, 0.0, self.side / across, self.side / down

    def interpolation(self, width: int, height: int) -> Interpolation:
        """From its low-resolution logits to the pixels of an image of that size, exactly as its own masks are made."""
        return self.components.resize.interpolation(self._logits, width, height)

    def _decode(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        width, height = embedding.width, embedding.height
        answers = MaskBuilder(self.interpolation(width, height), options, self.components.limit)
        for answered in _to_host(self._chunks(embedding, prompts, options)):
            answers.add(*answered)
        return answers.masks(width, height)

    def _chunks(
        self, embedding: Embedding, prompts: Prompts, options: DecodeOptions
    ) -> Iterator[tuple[NDArray[np.int64], Decoded]]:
        """Which prompts, and their answers; each chunk is begun when it is asked for."""
        components = self.components
        for group in group_prompts(prompts, components.resize.scale(embedding.width, embedding.height)):
            # Of the whole group at once: what comes from the host stops a GPU.
            tokens = components.prompts.tokens(group)
            multimask_output = options.multimask or group.ambiguous
            shared = None if group.masks else self._shared(embedding, len(tokens))
            step = 1 if shared is None else 4 if self._device == "cpu" else 64
            for start in range(0, len(tokens), step):
                index = group.index[start : start + step]
                seen = shared or self._refined(embedding, prompts, index[0])
                answer = components.decoder(
                    seen,
                    tokens[start : start + step],
                    multimask_output=multimask_output,
                    best_only=not options.multimask,
                )
                yield index, answer

    def _shared(self, embedding: Embedding, count: int) -> Shared:
        """What this image's prompts share, of which `count` more are to be answered."""
        last = self._last
        known = last is not None and last.embedding() is embedding
        asked = count + (last.asked if last is not None and known else 0)
        if last is not None and known and (last.asked >= MANY or asked < MANY):
            shared = last.shared
        else:
            shared = self.components.decoder.share(self.tensors(embedding), None, many_prompts=asked >= MANY)
        self._last = _Last(weakref.ref(embedding), shared, asked)
        return shared

    def _refined(self, embedding: Embedding, prompts: Prompts, index: int) -> Shared:
        """What a prompt with a mask starts from; it shares nothing with others."""
        mask = prompts.masks[index]
        if mask is None or self.components.dense is None:
            raise PromptError("expected prompts without masks; this model takes none; give points or a box")
        if isinstance(mask, np.ndarray):
            if mask.shape != self._logits:
                raise PromptError(
                    f"mask logits must be {self._logits[0]}×{self._logits[1]} for this model; got {mask.shape}; "
                    "pass logits of its own answers, or the mask as pixels"
                )
            logits = np.array(mask)
        else:
            covered = self.components.resize.shrink(mask.to_array()[0], self._logits)
            sure = np.clip(covered, CERTAIN, 1 - CERTAIN)
            logits = np.log(sure / (1 - sure))
        return self.components.decoder.share(self.tensors(embedding), self.components.dense(logits), many_prompts=False)

    def tensor(self, embedding: Embedding, name: str) -> Tensor:
        """One of an embedding's tensors, where the model runs."""
        return _tensor(embedding.tensors[name]).to(self._device)

    def tensors(self, embedding: Embedding) -> dict[str, Tensor]:
        """All of them, by their names."""
        return {name: self.tensor(embedding, name) for name in embedding.tensors}


@final
class SamVideoSegmenter(SamSegmenter):
    """The same with a tracker of its own; see `samovar.tracking.VideoSegmenter`."""

    def tracker(self, cache: EmbeddingCache | None = None) -> Tracker:
        """A new tracker. What its model has besides the encoder is loaded each time."""
        if self.components.tracker is None:
            raise TypeError("expected components with a tracker; got none; use SamSegmenter")
        return self.components.tracker(self, cache)


def _tensor(value: Any) -> Tensor:
    """A tensor that may be read. Torch warns of read-only arrays, so those are copied."""
    return value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


class MaskBuilder:
    """One image's answers, chunk by chunk in any order. Logits are outlined at once and kept only if asked for.

    Args:
        interpolation: from logits to pixels of the image.
        options: how prompts are answered.
        limit: logits are kept between −limit and limit; masks are outlined before that.
    """

    def __init__(self, interpolation: Interpolation, options: DecodeOptions, limit: float | None = None) -> None:
        self.options = options
        self._limit = limit
        self._interpolation = interpolation
        self._outlines: list[Outlines] = []
        self._prompt: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._stability: list[NDArray[np.float32]] = []
        self._logits: list[NDArray[np.float32]] = []

    def add(self, index: NDArray[np.int64], logits: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """M masks for each of N prompts.

        Args:
            index: N, which prompts.
            logits: N×M×h×w.
            scores: N×M.
        """
        options = self.options
        flat = logits.reshape(-1, *logits.shape[2:])
        self._outlines.append(outline(flat, self._interpolation, options.mask_threshold))
        self._prompt.append(np.repeat(index, logits.shape[1]))
        self._scores.append(scores.reshape(-1))
        if options.stability_offset is not None:
            offset = options.stability_offset
            self._stability.append(stability(flat, self._interpolation, offset, options.mask_threshold))
        if options.logits:
            self._logits.append(flat if self._limit is None else flat.clip(-self._limit, self._limit))

    def masks(self, width: int, height: int) -> Masks:
        """All of them: in the order of the prompts, and each prompt's best-scored first."""
        if not self._outlines:
            return Masks.empty(width, height)
        counts = np.concatenate([outlines.counts for outlines in self._outlines])
        lengths = np.concatenate([np.diff(outlines.offsets) for outlines in self._outlines])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        prompt, scores = np.concatenate(self._prompt), np.concatenate(self._scores)
        masks = Masks.from_runs(counts, offsets, width, height).replace(
            scores=scores,
            prompt_index=prompt,
            stability=np.concatenate(self._stability) if self._stability else None,
            logits=np.concatenate(self._logits) if self._logits else None,
        )
        order = np.lexsort((-scores, prompt))
        return masks if (np.diff(order) == 1).all() else masks[order]


Answered = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]
"""Which prompts (N), their logits (N×M×h×w) and predicted IoUs (N×M)."""

AHEAD = 1
"""Chunks of a CUDA device that are under way while the host works on the one before them."""


def _to_host(chunks: Iterator[tuple[NDArray[np.int64], Decoded]]) -> Iterator[Answered]:
    """The same chunks as arrays, in order; the next one is begun before this one is waited for."""
    under_way: deque[tuple[NDArray[np.int64], _Copy]] = deque()
    for index, decoded in chunks:
        if decoded.logits.device.type != "cuda":
            yield index, decoded.logits.cpu().numpy(), decoded.ious.cpu().numpy()
            continue
        under_way.append((index, _Copy(decoded)))
        if len(under_way) > AHEAD:
            first, copy = under_way.popleft()
            yield first, *copy.wait()
    for index, copy in under_way:
        yield index, *copy.wait()


class _Copy:
    """A copy to the host that has been asked for. Only page-locked memory is written to without stopping the device."""

    def __init__(self, decoded: Decoded) -> None:
        self._arrays = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in decoded]
        for array, tensor in zip(self._arrays, decoded):
            array.copy_(tensor, non_blocking=True)
        self._done = torch.cuda.Event()
        self._done.record(torch.cuda.current_stream(decoded.logits.device))

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The logits and the IoUs."""
        self._done.synchronize()
        logits, ious = (array.numpy() for array in self._arrays)
        return logits, ious


WARM_UP = 2
"""Calls before the recording, in which libraries choose their kernels and get their memory."""

logger = logging.getLogger(__name__)


class CudaGraphEncoder:
    """See `Encoder`. What it gives is copied out of the graph's memory, so any number of threads may call it.

    Args:
        encoder: whose kernels to record. One that cannot be recorded is called as it is, with a warning.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.image_size = encoder.image_size
        self._encoder = encoder
        self._lock = threading.Lock()
        self._recording: _Recording | None = None
        self._refused = False

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """See `Encoder`."""
        if self._refused or len(images) > 1:
            return self._encoder(images)
        with self._lock, torch.cuda.device(images.device):
            if self._recording is None:
                try:
                    self._recording = _Recording(self._encoder, images)
                except RuntimeError as error:
                    self._refused = True
                    logger.warning("the encoder cannot be recorded as a CUDA graph (%s); it runs without", error)
                    return self._encoder(images)
            return self._recording(images)


class _Recording:
    """One encoder's kernels for images of one shape, with the memory that they read and write."""

    def __init__(self, encoder: Encoder, images: Tensor) -> None:
        self._given = images.clone()
        calling, aside = torch.cuda.current_stream(), torch.cuda.Stream()
        aside.wait_stream(calling)
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                encoder(self._given)
        calling.wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._found = encoder(self._given)
        self._free = torch.cuda.Event()
        self._free.record(calling)

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        stream = torch.cuda.current_stream()
        stream.wait_event(self._free)
        self._given.copy_(images)
        self._graph.replay()
        found = {name: tensor.clone() for name, tensor in self._found.items()}
        self._free.record(stream)
        return found
