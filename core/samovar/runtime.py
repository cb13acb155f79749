"""`Runtime`: a segmenter, a cache and a memory budget behind one call. Holds no state between calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from samovar.cache import Cache
from samovar.chunks import Piece, chunk, windows
from samovar.embedding import Embedding
from samovar.errors import Cancelled, InputError
from samovar.image import Image
from samovar.lowering import Lowered, lower
from samovar.masks import Masks
from samovar.plugins import SegmentEvent, fire_after_segment
from samovar.prompts import Prompts, PromptsLike
from samovar.protocols import DecodeOptions, PromptSource, Segmenter

if TYPE_CHECKING:
    from samovar.image import ImageLike

__all__ = ["Runtime"]

DEFAULT_MEMORY = 1 << 30


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
            logits: keep low-res logits, so that `masks[i].as_prompt()` refines exactly.

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

    def _segment_window(
        self,
        window: list[tuple[Image, Lowered]],
        options: DecodeOptions,
        max_prompts: int | None,
        cancel: threading.Event | None,
    ) -> Iterator[Masks]:
        _stop_if(cancel)
        images = [image for image, _ in window]
        found = self.cache.get_or_encode(images, self.segmenter, model=self.name)
        started = time.perf_counter()
        parts: list[list[Masks]] = [[] for _ in window]
        cost = [self.segmenter.decode_bytes(image.width, image.height) for image in images]
        for pieces in chunk([len(lowered.prompts) for _, lowered in window], cost, self.memory, max_prompts):
            _stop_if(cancel)
            for piece, masks in zip(pieces, self._decode(found.embeddings, window, pieces, options)):
                parts[piece.image].append(masks.replace(prompt_index=masks.prompt_index + piece.start))
        answers = [_finish(image, lowered, part) for (image, lowered), part in zip(window, parts)]
        fire_after_segment(
            SegmentEvent(
                model=self.name,
                fingerprint=self.segmenter.fingerprint,
                images=len(window),
                prompts=sum(len(lowered.prompts) for _, lowered in window),
                masks=sum(map(len, answers)),
                encoded=found.encoded,
                encode_seconds=found.encode_seconds,
                decode_seconds=time.perf_counter() - started,
            )
        )
        yield from answers

    def _decode(
        self,
        embeddings: Sequence[Embedding],
        window: list[tuple[Image, Lowered]],
        pieces: Sequence[Piece],
        options: DecodeOptions,
    ) -> list[Masks]:
        prompts = [window[piece.image][1].prompts[piece.start : piece.stop] for piece in pieces]
        return self.segmenter.decode([embeddings[piece.image] for piece in pieces], prompts, options)


def _checked(pair: tuple[ImageLike, PromptsLike]) -> tuple[Image, Prompts]:
    image, prompts = Image(pair[0]), Prompts.of(pair[1])
    prompts.check_inside(image.width, image.height)
    return image, prompts


def _finish(image: Image, lowered: Lowered, parts: list[Masks]) -> Masks:
    """One image's masks, pointing back at the prompts that the caller gave."""
    if not parts:
        return Masks.empty(image.width, image.height)
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
