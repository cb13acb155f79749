"""The engine: one encode an image, clicks together, and nobody waits for another's picture."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from samovar import Image, Masks, Prompt, Prompts, Runtime
from samovar.errors import PromptError, WeightsError
from samovar_adapters.serve import Busy, Engine, Limits, TooSlow
from samovar_adapters.serve.decoding import Batcher
from tests.adapters.serve.served import SlowRed, engine_of, flat, until
from tests.fakes import FilledBoxes

BOX = Prompts.of(Prompt(box=(2, 3, 12, 23)))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


def picture(red: int, green: int = 0) -> Image:
    return Image(flat(red, green), name=f"{red}-{green}")


def test_a_click_is_answered_as_the_runtime_answers_it() -> None:
    segmenter = FilledBoxes()

    async def click() -> Masks:
        engine = engine_of(segmenter)
        masks: Masks = await engine.segment(picture(51), BOX)
        await engine.close()
        return masks

    assert run(click()).equals(Runtime(FilledBoxes()).segment(picture(51), BOX))


def test_an_image_is_encoded_once_however_many_ask_at_once_and_afterwards() -> None:
    segmenter = SlowRed()

    async def ask() -> None:
        engine = engine_of(segmenter)
        asking = [asyncio.create_task(engine.segment(picture(255), BOX)) for _ in range(40)]
        await until(lambda: segmenter.waiting)
        segmenter.allowed.set()
        assert all(len(masks) == 1 for masks in await asyncio.gather(*asking))
        await engine.segment(picture(255), BOX)
        await engine.close()

    run(ask())
    assert len(segmenter.encoded) == 1


def test_slow_encodes_on_every_encoder_do_not_keep_another_images_click_waiting() -> None:
    segmenter = SlowRed()

    async def ask() -> None:
        engine = engine_of(segmenter, Limits(encoders=2))
        await engine.embed(picture(10))  # encoded before, as a second click's image is
        slow = [asyncio.create_task(engine.segment(picture(255, green), BOX)) for green in range(6)]
        await until(lambda: segmenter.waiting == 2)
        began = time.perf_counter()
        for _ in range(5):
            await engine.segment(picture(10), BOX)
        assert time.perf_counter() - began < 2
        assert not any(task.done() for task in slow)
        segmenter.allowed.set()
        assert len(await asyncio.gather(*slow)) == 6
        await engine.close()

    run(ask())


def test_clicks_that_arrive_during_a_decode_are_decoded_together() -> None:
    segmenter = FilledBoxes()

    async def ask() -> None:
        engine = engine_of(segmenter)
        images = [picture(index * 10) for index in range(8)]
        for image in images:
            await engine.embed(image)
        await asyncio.gather(*(engine.segment(image, BOX) for image in images * 8))
        await engine.close()

    run(ask())
    assert sum(map(len, segmenter.decoded)) == 64
    assert len(segmenter.decoded) < 64


def test_many_at_once_each_get_their_own_images_answer() -> None:
    async def ask() -> list[tuple[int, float]]:
        engine = engine_of(FilledBoxes())
        reds = [index * 15 for index in range(16)] * 12

        async def one(red: int) -> tuple[int, float]:
            masks = await engine.segment(picture(red), BOX)
            return red, float(masks.scores[0])

        answers = await asyncio.gather(*map(one, reds))
        await engine.close()
        return answers

    for red, score in run(ask()):
        assert score == pytest.approx(red / 255, abs=1e-3)


def test_a_bad_prompt_fails_alone_before_anything_is_encoded() -> None:
    segmenter = FilledBoxes()

    async def ask() -> list[Any]:
        engine = engine_of(segmenter)
        outside = Prompts.of(Prompt(points=[[500, 500]]))
        answers = await asyncio.gather(
            engine.segment(picture(1), outside), engine.segment(picture(2), BOX), return_exceptions=True
        )
        await engine.close()
        return list(answers)

    wrong, right = run(ask())
    assert isinstance(wrong, PromptError)
    assert len(right) == 1
    assert len(segmenter.encoded) == 1


def test_a_decode_that_fails_for_one_question_answers_the_others() -> None:
    class Fragile(FilledBoxes):
        def decode(self, embeddings: Any, prompts: Any, options: Any) -> list[Masks]:
            if any(float(embedding.tensors["mean"][0]) > 200 for embedding in embeddings):
                raise RuntimeError("no masks of red pictures")
            return super().decode(embeddings, prompts, options)

    async def ask() -> list[Any]:
        engine = engine_of(Fragile())
        images = [picture(10), picture(255), picture(20)]
        for image in images:
            await engine.embed(image)
        answers = await asyncio.gather(*(engine.segment(image, BOX) for image in images), return_exceptions=True)
        await engine.close()
        return list(answers)

    first, second, third = run(ask())
    assert isinstance(second, RuntimeError)
    assert (len(first), len(third)) == (1, 1)


def thread() -> str:
    return threading.current_thread().name.rpartition("_")[0]


def test_a_few_clicks_on_an_embedded_image_are_read_decoded_and_drawn_in_one_thread() -> None:
    read_in: list[str] = []

    def read() -> tuple[Image, Prompts]:
        read_in.append(thread())
        return picture(51), BOX

    async def ask() -> tuple[str, str]:
        engine = engine_of(FilledBoxes())
        await engine.embed(picture(51))
        few = await engine.answer(read, lambda masks: thread(), count=1)
        many = await engine.answer(read, lambda masks: thread(), count=100)
        await engine.close()
        return few, many

    assert run(ask()) == ("samovar-decode", "samovar-io")
    assert read_in == ["samovar-decode", "samovar-io"]


def test_where_nothing_is_asked_for_nothing_is_encoded() -> None:
    segmenter = FilledBoxes()

    async def ask() -> Masks:
        engine = engine_of(segmenter)
        masks = await engine.segment(picture(51), Prompts.of([]))
        await engine.close()
        return masks

    masks = run(ask())
    assert (len(masks), masks.width, masks.height) == (0, 60, 40)
    assert not segmenter.encoded


def test_what_cannot_be_drawn_fails_alone() -> None:
    def fail(masks: Masks) -> None:
        raise ValueError("no ink")

    async def ask() -> list[Any]:
        engine = engine_of(FilledBoxes())
        image = picture(51)
        await engine.embed(image)
        asking = [engine.answer(lambda: (image, BOX), draw, count=1) for draw in (len, fail, len)]
        answers = await asyncio.gather(*asking, return_exceptions=True)
        await engine.close()
        return list(answers)

    first, second, third = run(ask())
    assert (first, third) == (1, 1)
    assert isinstance(second, ValueError)


def test_who_waits_for_threads_that_are_let_go_is_told() -> None:
    async def ask() -> list[Any]:
        busy = threading.Event()
        pool = ThreadPoolExecutor(1)
        pool.submit(busy.wait)
        batcher: Batcher[int, int] = Batcher(list, pool, most=1)
        asking = [asyncio.create_task(batcher.ask(question)) for question in (1, 2)]
        await until(lambda: not batcher.idle)
        pool.shutdown(wait=False, cancel_futures=True)
        busy.set()
        return list(await asyncio.gather(*asking, return_exceptions=True))

    assert [type(answer) for answer in run(ask())] == [asyncio.CancelledError] * 2


def test_a_warm_up_rehearses_what_it_is_told_and_outlives_what_fails() -> None:
    done: list[str] = []

    async def ask() -> None:
        engine = Engine(lambda: Runtime(FilledBoxes()), warm_up=True)
        engine.warm_up(lambda: 1 / 0)
        engine.warm_up(lambda: done.append(thread()))
        await engine.runtime()
        await until(lambda: done)
        await engine.close()

    run(ask())
    assert done == ["samovar-encode"]


def test_what_takes_too_long_is_said_and_the_encode_behind_it_goes_on() -> None:
    segmenter = SlowRed()

    async def ask() -> None:
        engine = engine_of(segmenter, Limits(seconds=0.2))
        with pytest.raises(TooSlow, match="ask again"):
            await engine.segment(picture(255), BOX)
        segmenter.allowed.set()
        assert len(await engine.segment(picture(255), BOX)) == 1
        await engine.close()

    run(ask())
    assert len(segmenter.encoded) == 1


def test_more_pictures_than_may_wait_are_refused() -> None:
    segmenter = SlowRed()

    async def ask() -> list[Any]:
        engine = engine_of(segmenter, Limits(encoders=1, encodes_waiting=2))
        asking = [asyncio.create_task(engine.embed(picture(255, green))) for green in range(8)]
        await until(lambda: sum(one.done() for one in asking) == 5)  # refused
        segmenter.allowed.set()
        answers = await asyncio.gather(*asking, return_exceptions=True)
        await engine.close()
        return list(answers)

    answers = run(ask())
    assert sum(isinstance(answer, Busy) for answer in answers) == 5
    assert sum(not isinstance(answer, Exception) for answer in answers) == 3


def test_without_a_cache_a_click_encodes_once() -> None:
    segmenter = FilledBoxes()

    async def ask() -> None:
        engine = engine_of(segmenter, cache="off")
        await engine.segment(picture(51), BOX)
        await engine.close()

    run(ask())
    assert len(segmenter.encoded) == 1


def test_a_model_that_could_not_be_loaded_is_tried_again() -> None:
    tries: list[int] = []

    def load() -> Runtime:
        tries.append(1)
        if len(tries) == 1:
            raise WeightsError("no weights yet")
        return Runtime(FilledBoxes())

    async def ask() -> None:
        engine = Engine(load)
        with pytest.raises(WeightsError):
            await engine.segment(picture(1), BOX)
        assert not engine.ready
        assert len(await engine.segment(picture(1), BOX)) == 1
        await engine.close()

    run(ask())
