"""Requests that arrive while a decode runs are answered together by the next one. Nothing ever waits for company."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from samovar_adapters.serve.problems import Busy

__all__ = ["Batcher"]

Q = TypeVar("Q")
A = TypeVar("A")


class Batcher(Generic[Q, A]):
    """Hands what is waiting to `work`, at most `most` at a time, one call after another, in one thread of `pool`.

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
