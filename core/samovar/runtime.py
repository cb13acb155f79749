"""`Runtime`: a segmenter, a cache and a memory budget behind one call. Holds no state between calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samovar.cache import Cache
from samovar.chunks import Piece, chunk, windows
from samovar.embedding import Embedding
from samovar.errors import Cancelled, InputError
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.lowering import Lowered, lower
from samovar.masks import Masks
from samovar.plugins import SegmentEvent, fire_after_segment
from samovar.prompts import Prompts, PromptsLike
from samovar.protocols import DecodeOptions, PromptSource, Segmenter

if TYPE_CHECKING:
    from samovar.image import ImageLike

__all__ = ["Prepared", "Runtime"]

DEFAULT_MEMORY = 1 << 30


@dataclass(frozen=True)
class Prepared:
    """One image and its prompts with the slow half done: ready to be answered, together with others'.

    Attributes:
        embedding: of the image.
        lowered: the prompts as the segmenter takes them.
        encoded: whether the embedding had to be computed for it.
        encode_seconds: the time that took.
    """

    embedding: Embedding
    lowered: Lowered
    encoded: bool = False
    encode_seconds: float = 0.0


class Runtime:
    """Any prompts in, compact masks out, with every image encoded once.

    Any number of threads may call one runtime at once: it never writes to itself.

    Args:
        segmenter: the model.
        name: what to call it in messages and metrics.
        cache: where embeddings are kept: a `Cache`, or anything that `Cache.open` takes.
        memory: bytes that decoding may use beyond the model and its masks; prompts are chunked to fit it.
        lowering: prompt sources that answer the kinds of prompt the segmenter does not take (text → boxes, say).
    """

    def __init__(
        self,
        segmenter: Segmenter,
        *,
        name: str = "segmenter",
        cache: Cache | str | None = None,
        memory: int = DEFAULT_MEMORY,
        lowering: Sequence[PromptSource] = (),
    ) -> None:
        if memory < 1:
            raise InputError(f"memory must be a positive number of bytes; got {memory}")
        self.segmenter = segmenter
        self.name = name
        self.cache = cache if isinstance(cache, Cache) else Cache.open(cache)
        self.memory = memory
        self.lowering = tuple(lowering)

    @property
    def fingerprint(self) -> Fingerprint:
        """The segmenter's."""
        return Fingerprint.of(self.segmenter.fingerprint)

    def embed(self, image: ImageLike) -> Embedding:
        """The image's embedding, from the cache where it is there. Raises ImageError."""
        return self.cache.get_or_encode([Image(image)], self.segmenter, model=self.name).embeddings[0]

    def prefetch(self, images: Iterable[ImageLike]) -> None:
        """A hint that these images come next: their embeddings are fetched or made in the background, in order.

        A few at most wait their turn, and later hints displace earlier ones. An image that cannot be read is passed
        over now and raises when it is asked for.
        """
        self.cache.prefetch([Image(image) for image in images], self.segmenter, model=self.name)

    def segment(
        self, image: ImageLike, prompts: PromptsLike, *, multimask: bool = False, logits: bool = False
    ) -> Masks:
        """The masks that `prompts` ask for on one image.

        Args:
            image: anything `Image` takes: path, URL, bytes, PIL image, array, tensor.
            prompts: a `Prompt`, several, an N×4 array of boxes, an N×2 array of points, or `Prompts`.
            multimask: up to three masks a prompt, best-scored first, instead of the best one.
            logits: keep low-res logits, so that `Prompt.from_mask(masks[i])` refines exactly.

        Raises:
            ImageError: the image cannot be read.
            PromptError: a prompt is malformed or outside the image.
            UnsupportedPromptError: the segmenter does not take that kind of prompt and nothing lowers it.
        """
        return self.segment_batch([image], [prompts], multimask=multimask, logits=logits)[0]

    def segment_batch(
        self,
        images: Sequence[ImageLike],
        prompts_per_image: Sequence[PromptsLike],
        *,
        multimask: bool = False,
        logits: bool = False,
        cancel: threading.Event | None = None,
    ) -> list[Masks]:
        """The masks of many images with their own prompts each (ragged). One `Masks` an image, in order.

        Args:
            cancel: set it from another thread to stop; Cancelled is raised before the next chunk.

        Raises: as `segment`, and InputError when the two sequences differ in length.
        """
        if len(images) != len(prompts_per_image):
            raise InputError(
                f"expected one set of prompts an image; got {len(prompts_per_image)} for {len(images)} images"
            )
        options = DecodeOptions(multimask=multimask, logits=logits)
        return list(self.stream(zip(images, prompts_per_image), options, cancel=cancel))

    def stream(
        self,
        pairs: Iterable[tuple[ImageLike, PromptsLike]],
        options: DecodeOptions | None = None,
        *,
        max_prompts: int | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Masks]:
        """As `segment_batch` for any number of images: only a few are in memory at once.

        Args:
            max_prompts: at most this many in one decode call, however much memory there is.
        """
        options = options or DecodeOptions()
        checked = ((image, lower(self, image, prompts)) for image, prompts in map(_checked, pairs))
        for window in windows(checked, self.memory // 4):
            yield from self._segment_window(window, options, max_prompts, cancel)

    def segment_all(self, image: ImageLike, *, cancel: threading.Event | None = None, **parameters: Any) -> Masks:
        """Masks of every object, by SAM's automatic mask generation over any segmenter.

        Args:
            parameters: the fields of `samovar.automatic.AutomaticOptions`, by SAM's published names
                (`points_per_side`, `pred_iou_thresh`, `stability_score_thresh`, `crop_n_layers` …).

        Raises: ImageError; InputError for an unknown or impossible parameter; Cancelled.
        """
        from samovar.automatic import generate

        return generate(self, Image(image), parameters, cancel)

    def prepare(self, image: ImageLike, prompts: PromptsLike, *, embedding: Embedding | None = None) -> Prepared:
        """The slow half of `segment`: check and lower the prompts, and encode the image if no cache has it.

        Servers call it in one place and `answer` in another, so that what needs encoding waits and nothing else does.

        Args:
            embedding: the image's, where it is at hand already.

        Raises: as `segment`.
        """
        checked, given = _checked((image, prompts))
        lowered = lower(self, checked, given)
        if embedding is not None:
            return Prepared(embedding, lowered)
        found = self.cache.get_or_encode([checked], self.segmenter, model=self.name)
        return Prepared(found.embeddings[0], lowered, found.encoded > 0, found.encode_seconds)

    def answer(
        self,
        prepared: Sequence[Prepared],
        options: DecodeOptions | None = None,
        *,
        max_prompts: int | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Masks]:
        """The fast half: all prompts of all images in as few decode calls as fit the memory. One `Masks` an image."""
        options = options or DecodeOptions()
        started = time.perf_counter()
        parts: list[list[Masks]] = [[] for _ in prepared]
        cost = [self.segmenter.decode_bytes(one.embedding.width, one.embedding.height) for one in prepared]
        for pieces in chunk([len(one.lowered.prompts) for one in prepared], cost, self.memory, max_prompts):
            _stop_if(cancel)
            for piece, masks in zip(pieces, self._decode(prepared, pieces, options)):
                parts[piece.image].append(masks.replace(prompt_index=masks.prompt_index + piece.start))
        answers = [_finish(one, part) for one, part in zip(prepared, parts)]
        fire_after_segment(
            SegmentEvent(
                model=self.name,
                fingerprint=self.fingerprint,
                images=len(prepared),
                prompts=sum(len(one.lowered.prompts) for one in prepared),
                masks=sum(map(len, answers)),
                encoded=sum(one.encoded for one in prepared),
                encode_seconds=sum(one.encode_seconds for one in prepared),
                decode_seconds=time.perf_counter() - started,
            )
        )
        return answers

    def _segment_window(
        self,
        window: list[tuple[Image, Lowered]],
        options: DecodeOptions,
        max_prompts: int | None,
        cancel: threading.Event | None,
    ) -> list[Masks]:
        _stop_if(cancel)
        found = self.cache.get_or_encode([image for image, _ in window], self.segmenter, model=self.name)
        share = found.encode_seconds / max(found.encoded, 1)
        left = found.encoded  # an image that is given twice is encoded once, and counted once
        prepared = []
        for embedding, (_, lowered), hit in zip(found.embeddings, window, found.hits):
            encoded = not hit and left > 0
            left -= encoded
            prepared.append(Prepared(embedding, lowered, encoded, share if encoded else 0.0))
        return self.answer(prepared, options, max_prompts=max_prompts, cancel=cancel)

    def _decode(
        self,
        prepared: Sequence[Prepared],
        pieces: Sequence[Piece],
        options: DecodeOptions,
    ) -> list[Masks]:
        prompts = [prepared[piece.image].lowered.prompts[piece.start : piece.stop] for piece in pieces]
        return self.segmenter.decode([prepared[piece.image].embedding for piece in pieces], prompts, options)


def _checked(pair: tuple[ImageLike, PromptsLike]) -> tuple[Image, Prompts]:
    image, prompts = Image(pair[0]), Prompts.of(pair[1])
    prompts.check_inside(image.width, image.height)
    return image, prompts


def _finish(prepared: Prepared, parts: list[Masks]) -> Masks:
    """One image's masks, pointing back at the prompts that the caller gave."""
    lowered = prepared.lowered
    if not parts:
        return Masks.empty(prepared.embedding.width, prepared.embedding.height)
    masks = Masks.concat(parts)
    asked, index = lowered.prompts, masks.prompt_index
    finished = masks.replace(prompt_index=lowered.origin[index])
    if asked.labels:
        finished = finished.replace(labels=[asked.labels[i] for i in index])
    if asked.ids:
        finished = finished.replace(ids=[asked.ids[i] for i in index])
    return finished


def _stop_if(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("stopped on request; the masks finished before it were kept by whoever received them")
