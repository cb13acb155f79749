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

    A question that spoils its batch is found by asking each alone: it fails, the others are answered.

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
        seen: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._work, self._pool, self._seen = work, pool, seen
        self._most, self._limit = most, waiting
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._runner: asyncio.Task[None] | None = None

    async def ask(self, question: Q) -> A:
        """The answer. Raises Busy, or what `work` raises for this question."""
        if len(self._waiting) >= self._limit:
            raise Busy("too many requests are waiting; try again in a moment")
        answer: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, answer))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            # Whoever asked may have gone (a time limit, a closed connection).
            batch = [item for item in batch if not item[1].done()]
            if batch:
                self._seen(len(batch))
                await self._answer(batch)
        self._runner = None

    async def _answer(self, batch: list[tuple[Q, asyncio.Future[A]]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            answers = await loop.run_in_executor(self._pool, self._work, [question for question, _ in batch])
        except Exception as error:  # noqa: BLE001  (it belongs to whoever asked, and must not end the runner)
            if len(batch) == 1:
                _settle(batch[0][1], error=error)
                return
            for item in batch:
                await self._answer([item])
            return
        for (_, future), answer in zip(batch, answers):
            _settle(future, answer)


def _settle(future: asyncio.Future[A], answer: A | None = None, error: Exception | None = None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(answer)  # type: ignore[arg-type]
