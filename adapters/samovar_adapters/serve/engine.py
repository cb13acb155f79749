"""The engine: one runtime behind an event loop. Clicks are decoded together; encoding never stands in their way."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from samovar.protocols import DecodeOptions
from samovar_adapters.serve.decoding import NOT_CACHED, Batcher, Decodable, DecodeJob, decode_jobs, find_cached
from samovar_adapters.serve.http import Busy, Metrics, TooSlow

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.prompts import Prompts
    from samovar.runtime import EncodedRequest, Runtime

__all__ = ["Embedded", "Engine", "Limits"]

T = TypeVar("T")

_FEW = 4  # prompts are read and finished in less time than it takes to wake another thread

_log = logging.getLogger("samovar.serve")


@dataclass(frozen=True)
class Limits:
    """Bounds of one engine.

    Attributes:
        encoders: images that are encoded at once; each has a thread.
        encodes_waiting: images that may wait for an encoder; the next is refused with Busy.
        clicks_waiting: requests that may wait for the decoder.
        seconds: that one request may take. The encode behind it goes on, so asking again is quick.
        batch: requests that one decode answers.
    """

    encoders: int = 2
    encodes_waiting: int = 256
    clicks_waiting: int = 1024
    seconds: float = 90.0
    batch: int = 64


@dataclass(frozen=True)
class Embedded:
    """One image in the cache.

    Attributes:
        width, height: in pixels.
        cached: whether it was there already.
        seconds: that this request waited.
    """

    width: int
    height: int
    cached: bool
    seconds: float


class Engine:
    """Answers prompts for any number of clients at once. Lives on one event loop.

    The model is loaded in the background, once, when it is first wanted. An image that nothing has encoded yet goes to
    the encoders, and whoever wants the same one waits for the same encode; an image that is in the cache goes straight
    to the decoder, past all of those. There, everything that has come in since the last decode is answered by the next;
    and where nothing has, one thread does all that a click takes, from its prompts to its answer.

    Args:
        load: gives the runtime; called in a thread.
        name: what the model is called.
        warm_up: once the model is loaded, have it segment a small grey image, for what models compile on first use.
    """

    def __init__(
        self, load: Callable[[], Runtime], *, name: str = "model", limits: Limits | None = None, warm_up: bool = False
    ) -> None:
        self.name = name
        self._warm_up = warm_up
        self._warm_ups: list[Callable[[], object]] = []
        self.limits = limits or Limits()
        self.metrics = Metrics()
        self._load = load
        self._runtime: asyncio.Task[Runtime] | None = None
        # Looking things up has threads of its own: behind a slow encode it would wait like everything else.
        self._io = ThreadPoolExecutor(8, thread_name_prefix="samovar-io")
        self._encoders = ThreadPoolExecutor(self.limits.encoders, thread_name_prefix="samovar-encode")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="samovar-decode")
        self._flights: dict[str, asyncio.Task[Any]] = {}
        self._batchers: dict[DecodeOptions, Batcher[DecodeJob, Any]] = {}
        self._working: set[Future[Any]] = set()

    # ------------------------------------------------------------------------------------------------- the model

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        task = self._runtime
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    def start_loading(self) -> None:
        """Load the model in the background, unless that has begun. Errors are kept for whoever wants it."""
        if self._runtime is None or (self._runtime.done() and self._runtime.exception() is not None):
            self._runtime = asyncio.create_task(self._run_encoder(self._load))
            self._runtime.add_done_callback(self._loaded)

    def _loaded(self, task: asyncio.Task[Runtime]) -> None:
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            _log.error("model not loaded", extra={"fields": {"model": self.name, "error": str(error)}})
            return
        _log.info("model loaded", extra={"fields": {"model": self.name}})
        if self._warm_up:
            runtime = task.result()
            # Whoever clicks in the meantime has the other encoders.
            self._encoders.submit(lambda: _warm_up_all([lambda: _segment_grey(runtime), *self._warm_ups]))

    def warm_up(self, work: Callable[[], object]) -> None:
        """Have `work` done, too, when the engine warms up: no request has to wait for what it compiles."""
        self._warm_ups.append(work)

    async def runtime(self) -> Runtime:
        """The runtime, loaded if need be; a model that could not be loaded is tried again."""
        self.start_loading()
        assert self._runtime is not None  # noqa: S101  (start_loading sets it)
        return await asyncio.shield(self._runtime)

    # ------------------------------------------------------------------------------------------------- what it does

    async def segment(self, image: Image, prompts: Prompts, options: DecodeOptions | None = None) -> Masks:
        """The masks that `prompts` ask for on `image`.

        Raises: as `Runtime.segment`; Busy when too much is waiting; TooSlow after `Limits.seconds`.
        """
        return await self.answer(lambda: (image, prompts), lambda masks: masks, options, count=len(prompts))

    async def answer(
        self,
        read: Callable[[], tuple[Image, Prompts]],
        finish: Callable[[Masks], T],
        options: DecodeOptions | None = None,
        *,
        count: int,
    ) -> T:
        """What `finish` makes of the masks that are asked for. Both run off the event loop.

        Args:
            read: says what is asked for; may be called more than once. Of no prompts no image is encoded.
            count: of what is asked for, more or less. A few are read and finished where the masks are decoded: waking
                another thread takes as long.

        Raises: as `segment`, and what `read` and `finish` raise.
        """
        return await self._with_timeout(self._answer(read, finish, options or DecodeOptions(), count <= _FEW))

    async def embed(self, image: Image) -> Embedded:
        """Put the image's embedding into the cache. Raises ImageError, Busy and TooSlow."""
        began = time.perf_counter()
        width, height, cached = await self._with_timeout(self._embed(image))
        return Embedded(width, height, cached, time.perf_counter() - began)

    async def segment_all(self, image: Image, **parameters: Any) -> Masks:
        """Masks of every object, as `Runtime.segment_all`. It has a thread among the encoders: it takes seconds."""
        runtime = await self._with_timeout(self.runtime())
        stop = threading.Event()
        work = self._run_encoder(lambda: runtime.segment_all(image, cancel=stop, **parameters))
        try:
            return await self._with_timeout(work)
        except TooSlow:
            stop.set()  # unlike an embedding, half of the masks are of no use to anybody
            raise

    async def run_encoder(self, work: Callable[[], T]) -> T:
        """`work`, which may block for long (a detector, a download), in one of the encoders' threads."""
        return await self._with_timeout(self._run_encoder(work))

    async def run_io(self, work: Callable[[], T]) -> T:
        """`work`, which blocks briefly, off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._io, work)

    async def close(self) -> None:
        """Finish what is being worked on, and write the cache down."""
        waiting = [task for task in self._flights.values() if not task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        runtime = self._runtime.result() if self.ready and self._runtime is not None else None
        if runtime is not None:
            await asyncio.to_thread(runtime.cache.close)
        for pool in (self._io, self._encoders, self._decoder):
            pool.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------------------------------------------- how

    async def _answer(
        self, read: Callable[[], tuple[Image, Prompts]], finish: Callable[[Masks], T], options: DecodeOptions, few: bool
    ) -> T:
        runtime = await self.runtime()
        decoder = self._batcher(options, runtime)
        if few and all(one.idle for one in self._batchers.values()):
            # Nobody waits for the decoder's thread: it may as well look whether the embedding is in memory.
            answer = await self._decode(decoder, lambda: find_cached(runtime, read, in_memory=True), finish)
            if answer is not NOT_CACHED:
                return answer
        ready = await self._prepared(runtime, read)
        if few:
            return await self._decode(decoder, lambda: ready, finish)
        masks = await self._decode(decoder, lambda: ready, lambda masks: masks)
        return await self.run_io(lambda: finish(masks))

    async def _decode(
        self, decoder: Batcher[DecodeJob, Any], prepare: Callable[[], Decodable | None], finish: Callable[[Masks], T]
    ) -> T:
        began = time.perf_counter()
        answer: T = await decoder.ask(DecodeJob(prepare, finish))
        if answer is not NOT_CACHED:
            self.metrics.decode_seconds.observe(time.perf_counter() - began)
        return answer

    async def _prepared(self, runtime: Runtime, read: Callable[[], tuple[Image, Prompts]]) -> Decodable:
        """The embedding and the prompts as the segmenter takes them."""
        ready = await self.run_io(lambda: find_cached(runtime, read))
        if ready is not None:
            return ready
        image, prompts = await self.run_io(read)
        encoded = await self._encoded(runtime, image)

        def prepare() -> EncodedRequest:
            return runtime.encode_request(image, prompts, embedding=encoded.embedding)

        if prompts.kinds <= runtime.prompt_kinds:
            prepared = await self.run_io(prepare)
        else:  # a grounder looks at the image, which takes as long as encoding it
            prepared = await self._run_encoder(prepare)
        return replace(prepared, encoded=encoded.encoded, encode_seconds=encoded.encode_seconds)

    async def _embed(self, image: Image) -> tuple[int, int, bool]:
        runtime = await self.runtime()
        embedding = await self.run_io(lambda: runtime.cache.find(image, runtime.segmenter, model=runtime.name))
        if embedding is not None:
            return embedding.width, embedding.height, True
        prepared = await self._encoded(runtime, image)
        return prepared.embedding.width, prepared.embedding.height, not prepared.encoded

    async def _encoded(self, runtime: Runtime, image: Image) -> EncodedRequest:
        """The embedding of an image that no cache had a moment ago; at most one encode an image at a time."""
        key = await self.run_io(lambda: _identity(image))
        prepared: EncodedRequest = await self._single_flight(key, lambda: self._encode(runtime, image))
        return prepared

    async def _encode(self, runtime: Runtime, image: Image) -> EncodedRequest:
        from samovar.prompts import Prompts

        prepared = await self._run_encoder(lambda: runtime.encode_request(image, Prompts.of([])))
        if prepared.encoded:
            self.metrics.encode_seconds.observe(prepared.encode_seconds)
        return prepared

    async def _single_flight(self, key: str, work: Callable[[], Any]) -> Any:
        """`work()`, or what somebody else's `work()` for the same key, already under way, gives."""
        task = self._flights.get(key)
        if task is None:
            task = self._flights[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: (self._flights.pop(key, None), done.cancelled() or done.exception()))
        # Shielded: one client that gives up must not take the others' encode with it.
        return await asyncio.shield(task)

    def _batcher(self, options: DecodeOptions, runtime: Runtime) -> Batcher[DecodeJob, Any]:
        if options not in self._batchers:

            def work(jobs: Sequence[DecodeJob]) -> Sequence[Any]:
                return decode_jobs(runtime, options, jobs, self.metrics)

            self._batchers[options] = Batcher(
                work,
                self._decoder,
                most=self.limits.batch,
                waiting=self.limits.clicks_waiting,
            )
        return self._batchers[options]

    async def _run_encoder(self, work: Callable[[], T]) -> T:
        """`work` in one of the encoders' threads. Raises Busy when too much waits for one."""
        if len(self._working) >= self.limits.encoders + self.limits.encodes_waiting:
            raise Busy("too many images are waiting to be encoded; try again in a moment")
        future = self._encoders.submit(work)
        self._working.add(future)
        future.add_done_callback(self._working.discard)
        return await asyncio.wrap_future(future)

    async def _with_timeout(self, work: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(work, self.limits.seconds)
        except asyncio.TimeoutError:
            raise TooSlow(f"no answer within {self.limits.seconds:g} s; the work goes on: ask again") from None


def _warm_up_all(works: Sequence[Callable[[], object]]) -> None:
    for work in works:
        with suppress(Exception):  # whoever asks in earnest will meet the same error
            work()


def _segment_grey(runtime: Runtime) -> None:
    """Past the cache, where the image would only take up room."""
    from samovar.image import Image
    from samovar.prompts import Prompts

    grey = Image(np.full((64, 64, 3), 128, np.uint8), name="warm-up")
    embeddings = runtime.segmenter.encode([grey])
    prompts = Prompts.from_boxes([[8, 8, 56, 56]]), Prompts.from_points([[32, 32]])
    for one in prompts:
        if one.kinds <= runtime.segmenter.prompt_kinds:
            runtime.segmenter.decode(embeddings, [one], DecodeOptions())


def _identity(image: Image) -> str:
    """What tells the image from others. Raises ImageError."""
    return image.file_digest() or image.digest
