"""`Runtime`: a segmenter, a cache and a memory budget behind one call. Holds no state between calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from samovar.cache import Cache
from samovar.caching import open_cache
from samovar.conversion import Converted, convert_prompts
from samovar.deprecation import renamed_keywords, renamed_method, warn_renamed
from samovar.embedding import Embedding
from samovar.errors import Cancelled, InputError
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.masks import Masks
from samovar.plugins import SegmentEvent, fire_after_segment
from samovar.prompts import Prompts, PromptsLike
from samovar.protocols import DecodeOptions, PromptSource, Segmenter
from samovar.types import Kind

if TYPE_CHECKING:
    from samovar.image import ImageLike

__all__ = ["EncodedRequest", "Runtime"]

DEFAULT_MEMORY = 1 << 30
MAX_WINDOW = 16

Rest = TypeVar("Rest")


@dataclass(frozen=True)
class EncodedRequest:
    """One image and its prompts with the slow half done: ready to be decoded, together with others'.

    Attributes:
        embedding: of the image.
        converted: the prompts as the segmenter takes them.
        encoded: whether the embedding had to be computed for it.
        encode_seconds: the time that took.
    """

    embedding: Embedding
    converted: Converted
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
        converters: prompt sources that answer the kinds of prompt the segmenter does not take (text → boxes, say).
    """

    @renamed_keywords(lowering="converters")
    def __init__(
        self,
        segmenter: Segmenter,
        *,
        name: str = "segmenter",
        cache: Cache | str | None = None,
        memory: int = DEFAULT_MEMORY,
        converters: Sequence[PromptSource] = (),
    ) -> None:
        if memory < 1:
            raise InputError(f"memory must be a positive number of bytes; got {memory}")
        self.segmenter = segmenter
        self.name = name
        self.cache = cache if isinstance(cache, Cache) else open_cache(cache)
        self.memory = memory
        self.converters = tuple(converters)
        self.prompt_kinds: frozenset[Kind] = segmenter.prompt_kinds  # read once: every prompt is compared with them

    @property
    def lowering(self) -> tuple[PromptSource, ...]:
        """Deprecated: `converters`."""
        warn_renamed("Runtime.lowering", "Runtime.converters")
        return self.converters

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
            UnsupportedPromptError: the segmenter does not take that kind of prompt and nothing converts it.
        """
        shown = Image(image)
        return self.segment_batch([shown], [prompts], multimask=multimask, logits=logits)[0].seen_on(shown)

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
        requests = map(self._request, pairs)
        for window in image_windows(requests, self.memory // 4):
            yield from self._segment_window(window, options, max_prompts, cancel)

    def segment_all(self, image: ImageLike, *, cancel: threading.Event | None = None, **parameters: Any) -> Masks:
        """Masks of every object, by SAM's automatic mask generation over any segmenter.

        Args:
            parameters: the fields of `samovar.automatic.AutomaticOptions`, by SAM's published names
                (`points_per_side`, `pred_iou_thresh`, `stability_score_thresh`, `crop_n_layers` …).

        Raises: ImageError; InputError for an unknown or impossible parameter; Cancelled.
        """
        from samovar.automatic import AutomaticOptions, HasAutomaticDefaults, generate

        defaults = self.segmenter.automatic if isinstance(self.segmenter, HasAutomaticDefaults) else AutomaticOptions()

        def segment(view: Image, prompts: Prompts, options: DecodeOptions, max_prompts: int) -> Masks:
            (masks,) = self.stream([(view, prompts)], options, max_prompts=max_prompts, cancel=cancel)
            return masks

        whole = Image(image)
        return generate(whole, defaults.override(parameters), segment).seen_on(whole)

    # ------------------------------------------------------------------------------------- the two halves, for servers

    def encode_request(self, image: Image, prompts: Prompts, *, embedding: Embedding | None = None) -> EncodedRequest:
        """The slow half of `segment`: convert the prompts, and encode the image if no cache has it.

        Servers call it in one place and `decode_requests` in another, so that what needs encoding waits and nothing
        else does.

        Args:
            prompts: that lie on the image; who takes them in has asked `Prompts.check_inside`.
            embedding: the image's, where it is at hand already.

        Raises: UnsupportedPromptError, ImageError.
        """
        converted = self._convert(image, prompts)
        if embedding is not None:
            return EncodedRequest(embedding, converted)
        found = self.cache.get_or_encode([image], self.segmenter, model=self.name)
        return EncodedRequest(found.embeddings[0], converted, found.encoded > 0, found.encode_seconds)

    def decode_requests(
        self,
        requests: Sequence[EncodedRequest],
        options: DecodeOptions | None = None,
        *,
        max_prompts: int | None = None,
        cancel: threading.Event | None = None,
    ) -> list[Masks]:
        """The fast half: all prompts of all images in as few decode calls as fit the memory. One `Masks` an image."""
        options = options or DecodeOptions()
        started = time.perf_counter()
        parts: list[list[tuple[int, Masks]]] = [[] for _ in requests]
        cost = [self.segmenter.decode_bytes(one.embedding.width, one.embedding.height) for one in requests]
        for call in decode_calls([len(one.converted.prompts) for one in requests], cost, self.memory, max_prompts):
            _stop_if(cancel)
            embeddings = [requests[piece.image].embedding for piece in call]
            prompts = [requests[piece.image].converted.prompts[piece.start : piece.stop] for piece in call]
            for piece, masks in zip(call, self.segmenter.decode(embeddings, prompts, options)):
                parts[piece.image].append((piece.start, masks))
        answers = [_finish(one, part) for one, part in zip(requests, parts)]
        fire_after_segment(
            SegmentEvent(
                model=self.name,
                fingerprint=self.fingerprint,
                images=len(requests),
                prompts=sum(len(one.converted.prompts) for one in requests),
                masks=sum(map(len, answers)),
                encoded=sum(one.encoded for one in requests),
                encode_seconds=sum(one.encode_seconds for one in requests),
                decode_seconds=time.perf_counter() - started,
            )
        )
        return answers

    def prepare(self, image: ImageLike, prompts: PromptsLike, *, embedding: Embedding | None = None) -> EncodedRequest:
        """Deprecated: `encode_request`, which takes what has been checked."""
        warn_renamed("Runtime.prepare()", "Runtime.encode_request()")
        checked, given = Image(image), Prompts.of(prompts)
        given.check_inside(checked.width, checked.height)
        return self.encode_request(checked, given, embedding=embedding)

    answer = renamed_method("Runtime.answer", decode_requests)

    def _request(self, pair: tuple[ImageLike, PromptsLike]) -> tuple[Image, Converted]:
        """What a caller gave, checked and converted: the one place where it is."""
        image, prompts = Image(pair[0]), Prompts.of(pair[1])
        prompts.check_inside(image.width, image.height)
        return image, self._convert(image, prompts)

    def _convert(self, image: Image, prompts: Prompts) -> Converted:
        return convert_prompts(image, prompts, self.prompt_kinds, self.converters, model=self.name)

    def _segment_window(
        self,
        window: list[tuple[Image, Converted]],
        options: DecodeOptions,
        max_prompts: int | None,
        cancel: threading.Event | None,
    ) -> list[Masks]:
        _stop_if(cancel)
        found = self.cache.get_or_encode([image for image, _ in window], self.segmenter, model=self.name)
        share = found.encode_seconds / max(found.encoded, 1)
        left = found.encoded  # an image that is given twice is encoded once, and counted once
        requests = []
        for embedding, (_, converted), hit in zip(found.embeddings, window, found.hits):
            encoded = not hit and left > 0
            left -= encoded
            requests.append(EncodedRequest(embedding, converted, encoded, share if encoded else 0.0))
        return self.decode_requests(requests, options, max_prompts=max_prompts, cancel=cancel)


def _finish(request: EncodedRequest, parts: list[tuple[int, Masks]]) -> Masks:
    """One image's masks, pointing back at the caller's prompts; `parts`: number of their first prompt, and masks."""
    if not parts:
        return Masks.empty(request.embedding.width, request.embedding.height)
    asked, origin = request.converted
    index = np.concatenate([masks.prompt_index + start for start, masks in parts])
    columns: dict[str, Any] = {"prompt_index": origin[index]}
    if asked.labels:
        columns["labels"] = [asked.labels[i] for i in index]
    if asked.ids:
        columns["ids"] = [asked.ids[i] for i in index]
    return Masks.concat([masks for _, masks in parts]).replace(**columns)


def _stop_if(cancel: threading.Event | None) -> None:
    if cancel is not None and cancel.is_set():
        raise Cancelled("stopped on request; the masks finished before it were kept by whoever received them")


# ------------------------------------------------------------------------------------ cutting work to a byte budget


class DecodeSlice(NamedTuple):
    """Prompts `start` … `stop` of image number `image` of a window."""

    image: int
    start: int
    stop: int


def image_windows(pairs: Iterable[tuple[Image, Rest]], budget: int) -> Iterator[list[tuple[Image, Rest]]]:
    """Consecutive pairs whose pixels together fit `budget` bytes; at least one and at most 16 images each."""
    window: list[tuple[Image, Rest]] = []
    held = 0
    for pair in pairs:
        size = pair[0].width * pair[0].height * 3
        if window and (held + size > budget or len(window) == MAX_WINDOW):
            yield window
            window, held = [], 0
        window.append(pair)
        held += size
    if window:
        yield window


def decode_calls(
    counts: Sequence[int], bytes_each: Sequence[int], budget: int, most: int | None = None
) -> Iterator[list[DecodeSlice]]:
    """Slices for one decode call after another, each call within `budget` bytes (but always at least one prompt).

    Args:
        counts: number of prompts of each image.
        bytes_each: what one prompt of that image costs.
        budget: bytes a call may use.
        most: prompts a call may hold.

    Raises:
        InputError: a call that may hold no prompt.
    """
    if most is None:
        most = sum(counts)
    elif most < 1:
        raise InputError(f"max_prompts must be at least 1; got {most}")
    call: list[DecodeSlice] = []
    room, places = budget, most
    for image, (count, cost) in enumerate(zip(counts, bytes_each)):
        start = 0
        while start < count:
            take = min(count - start, places, max(room // max(cost, 1), 0 if call else 1))
            if take == 0:
                yield call
                call, room, places = [], budget, most
                continue
            call.append(DecodeSlice(image, start, start + take))
            room -= take * cost
            places -= take
            start += take
    if call:
        yield call
