"""The decoder's thread: what requests have for it, and how those that wait are answered together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from samovar.masks import Masks
from samovar.runtime import EncodedRequest
from samovar_adapters.serve.http import Busy

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions
    from samovar.runtime import Runtime
    from samovar_adapters.serve.http import Metrics

__all__ = ["NOT_CACHED", "Batcher", "Decodable", "DecodeJob", "decode_jobs", "find_cached"]

Q = TypeVar("Q")
A = TypeVar("A")

NOT_CACHED: Any = object()
"""The answer to a job whose image has to be encoded first."""

Decodable: TypeAlias = EncodedRequest | Masks
"""What is left to be decoded; masks where nothing is."""


@dataclass(frozen=True)
class DecodeJob:
    """What one request has for the decoder's thread.

    Attributes:
        prepare: gives what is to be decoded; None if its embedding is not at hand.
        finish: what to make of the masks.
    """

    prepare: Callable[[], Decodable | None]
    finish: Callable[[Masks], Any]


def decode_jobs(runtime: Runtime, options: DecodeOptions, jobs: Sequence[DecodeJob], metrics: Metrics) -> list[Any]:
    """What each job makes of its masks, all decoded together; `NOT_CACHED` for one that has nothing to decode."""
    prepared = [job.prepare() for job in jobs]
    requests = [one for one in prepared if isinstance(one, EncodedRequest)]
    decoded = iter(runtime.decode_requests(requests, options) if requests else ())
    if requests:
        metrics.batch_sizes.observe(len(requests))
    answers: list[Any] = []
    for job, one in zip(jobs, prepared):
        if one is None:
            answers.append(NOT_CACHED)
        else:
            answers.append(job.finish(next(decoded) if isinstance(one, EncodedRequest) else one))
    return answers


def find_cached(
    runtime: Runtime, read: Callable[[], tuple[Image, Prompts]], *, in_memory: bool = False
) -> Decodable | None:
    """What takes no encoding and no look at the image to prepare; else None.

    Raises: as `read` and `Runtime.encode_request`, and PromptError.

    Args:
        in_memory: nor any reading from a disk.
    """
    image, prompts = read()
    if len(prompts) == 0:
        return Masks.empty(image.width, image.height)
    prompts.check_inside(image.width, image.height)  # here alone, for all that follows, and before encoding in vain
    embedding = None
    if prompts.kinds <= runtime.prompt_kinds:
        embedding = runtime.cache.find(image, runtime.segmenter, model=runtime.name, in_memory=in_memory)
    if embedding is None:
        return None
    return runtime.encode_request(image, prompts, embedding=embedding)


class Batcher(Generic[Q, A]):
    """Requests that arrive while a decode runs are answered together by the next one. Nothing ever waits for company.

    Hands what is waiting to `work`, at most `most` at a time, one call after another, in one thread of `pool`.

    A question that spoils its batch is found by asking each alone: it fails, the others are answered. Lives on one
    event loop.

    Args:
        work: answers questions, in order.
        waiting: no more than so many questions may wait; the next is refused with Busy.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Q]], Sequence[A]],
        pool: Executor,
        *,
        most: int = 64,
        waiting: int = 1024,
    ) -> None:
        self._work, self._pool = work, pool
        self._most, self._limit = most, waiting
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._batch: list[asyncio.Future[A]] = []

    @property
    def idle(self) -> bool:
        """Whether a question would be worked on at once."""
        return not self._batch

    async def ask(self, question: Q) -> A:
        """The answer. Raises Busy, or what `work` raises for this question."""
        if len(self._waiting) >= self._limit:
            raise Busy("too many requests are waiting; try again in a moment")
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self.idle:
            self._begin()
        return await answer

    def _begin(self) -> None:
        """Have the next batch worked on, if there is one."""
        questions: list[Q] = []
        while self._waiting and len(questions) < self._most:
            question, answer = self._waiting.popleft()
            if not answer.done():  # whoever asked may have gone (a time limit, a closed connection)
                questions.append(question)
                self._batch.append(answer)
        if questions:
            working = asyncio.get_running_loop().run_in_executor(self._pool, self._answers, questions)
            working.add_done_callback(self._end)

    def _end(self, working: asyncio.Future[Sequence[A | Exception]]) -> None:
        batch, self._batch = self._batch, []
        if working.cancelled():  # the pool was shut down
            for answer in (*batch, *(answer for _, answer in self._waiting)):
                answer.cancel()
            self._waiting.clear()
            return
        for answer, found in zip(batch, working.result()):
            if answer.done():
                continue
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)
        self._begin()

    def _answers(self, questions: Sequence[Q]) -> Sequence[A | Exception]:
        """What `work` answers, or raises, for each question. In the pool's thread."""
        try:
            return self._work(questions)
        except Exception as error:  # noqa: BLE001  (it belongs to whoever asked, and must not end the work)
            if len(questions) == 1:
                return [error]
            return [answer for question in questions for answer in self._answers([question])]
