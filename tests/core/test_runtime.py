"""The runtime: ragged prompts in, masks out, in order, bounded, without state."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from samovar import Image, Prompt, Prompts, hookimpl
from samovar.errors import Cancelled, InputError, PromptError, UnsupportedPromptError
from samovar.plugins import PromptSourceSpec, SegmenterSpec, SegmentEvent, override_plugins
from samovar.runtime import Runtime
from tests.fakes import FilledBoxes, WordBoxes


def grey(level: int, width: int = 40, height: int = 30) -> Image:
    return Image(np.full((height, width, 3), level, np.uint8))


@pytest.fixture
def segmenter() -> FilledBoxes:
    return FilledBoxes()


@pytest.fixture
def runtime(segmenter: FilledBoxes) -> Runtime:
    return Runtime(segmenter, name="boxes")


def test_a_box_gives_its_mask_with_label_id_and_score(runtime: Runtime) -> None:
    masks = runtime.segment(grey(51), Prompt(box=(5, 6, 15, 26), label="door", id=7))
    assert masks.boxes.tolist() == [[5, 6, 15, 26]]
    assert masks.areas.tolist() == [200]
    assert (masks.labels, masks.ids) == (("door",), (7,))
    assert masks.scores.tolist() == pytest.approx([0.2])


def test_arrays_of_boxes_and_points_need_no_prompt_objects(runtime: Runtime) -> None:
    boxes = np.array([[0, 0, 4, 4], [10, 10, 20, 20]])
    assert runtime.segment(grey(0), boxes).areas.tolist() == [16, 100]
    assert runtime.segment(grey(0), np.array([[20.0, 15.0]])).boxes.tolist() == [[10, 5, 30, 25]]


def test_no_prompts_give_no_masks_of_the_images_size(runtime: Runtime) -> None:
    masks = runtime.segment(grey(0), [])
    assert (len(masks), masks.width, masks.height) == (0, 40, 30)


def test_a_ragged_batch_answers_each_image_with_its_own_prompts(runtime: Runtime) -> None:
    images = [grey(51), grey(102, 60, 20), grey(153)]
    sets = [[Prompt(box=(0, 0, 2, 2)), Prompt(points=[[20, 15]])], [], [Prompt(box=(1, 1, 4, 4))]]
    batch = runtime.segment_batch(images, sets)
    assert [len(masks) for masks in batch] == [2, 0, 1]
    assert [(masks.width, masks.height) for masks in batch] == [(40, 30), (60, 20), (40, 30)]
    assert batch[0].scores.tolist() == pytest.approx([0.2, 0.2])
    assert batch[2].scores.tolist() == pytest.approx([0.6])


def test_multimask_masks_point_back_at_their_prompt(runtime: Runtime) -> None:
    masks = runtime.segment(
        grey(0), [Prompt(box=(0, 0, 4, 4), id="a"), Prompt(box=(0, 0, 8, 8), id="b")], multimask=True
    )
    assert masks.prompt_index.tolist() == [0, 0, 1, 1]
    assert masks.ids == ("a", "a", "b", "b")


def test_chunking_by_memory_changes_nothing_in_the_answer(segmenter: FilledBoxes) -> None:
    boxes = np.array([[i, i, i + 3, i + 2] for i in range(20)])
    whole = Runtime(segmenter).segment(grey(0), boxes)
    small = Runtime(segmenter, memory=3 * 40 * 30).segment(grey(0), boxes)
    assert segmenter.decoded == [[20], *([[3]] * 6), [2]]
    assert small.to_coco_rle() == whole.to_coco_rle()
    assert small.prompt_index.tolist() == list(range(20))


def test_an_image_is_encoded_once_however_often_it_is_asked_about(segmenter: FilledBoxes, tmp_path: Path) -> None:
    runtime = Runtime(segmenter, cache=str(tmp_path))
    for _ in range(3):
        runtime.segment(grey(9), Prompt(box=(0, 0, 5, 5)))
    assert len(segmenter.encoded) == 1


def test_many_threads_never_get_another_images_mask(runtime: Runtime) -> None:
    def level(i: int) -> float:
        return float(runtime.segment(grey(i % 256), Prompt(box=(0, 0, 5, 5))).scores[0]) * 255

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(level, range(200))) == pytest.approx([i % 256 for i in range(200)], abs=1e-3)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(points=[[41, 10]]), "outside the image"),
        (Prompt(points=[[-1, 10]]), "outside the image"),
        (Prompt(box=(50, 5, 60, 9)), "misses the image"),
        (Prompt(mask=np.ones((5, 5), bool)), "5×5 but the image is 40×30"),
    ],
)
def test_a_prompt_outside_the_image_is_refused_in_one_line(runtime: Runtime, prompt: Prompt, message: str) -> None:
    with pytest.raises(PromptError, match=message) as caught:
        runtime.segment(grey(0), prompt)
    assert "\n" not in str(caught.value)


def test_prompts_and_images_must_be_as_many(runtime: Runtime) -> None:
    with pytest.raises(InputError, match="got 1 for 2 images"):
        runtime.segment_batch([grey(0), grey(1)], [[]])


def test_a_kind_that_the_model_lacks_names_what_would_convert_it(runtime: Runtime) -> None:
    class Others:
        @hookimpl
        def register_prompt_sources(self) -> list[PromptSourceSpec]:
            return [PromptSourceSpec("words", "tests.fakes:WordBoxes", "words", produces=("box",), converts=("text",))]

        @hookimpl
        def register_segmenters(self) -> list[SegmenterSpec]:
            return [SegmenterSpec("reader", "tests.fakes:Reader", ("text",), "reads", "Apache-2.0")]

    with override_plugins({"others": Others()}), pytest.raises(UnsupportedPromptError) as caught:
        runtime.segment(grey(0), Prompt(text="cat"))
    assert str(caught.value) == (
        "model 'boxes' takes points, box; got a text prompt; convert it with the source 'words' or use model 'reader'"
    )


def test_converted_prompts_point_back_at_the_prompt_they_came_from(segmenter: FilledBoxes) -> None:
    runtime = Runtime(segmenter, converters=[WordBoxes()])
    prompts = [
        Prompt(box=(1, 1, 3, 3)),
        Prompt(text="both", label="half"),
        Prompt(text="none"),
        Prompt(text="left", id=4),
    ]
    masks = runtime.segment(grey(0), prompts)
    assert masks.prompt_index.tolist() == [0, 1, 1, 3]
    assert masks.labels == (None, "half", "half", None)
    assert masks.ids == (None, None, None, 4)
    assert masks.areas.tolist() == [4, 600, 600, 600]


def test_a_set_event_cancels_before_the_next_chunk(runtime: Runtime, segmenter: FilledBoxes) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        runtime.segment_batch([grey(0)], [np.array([[0, 0, 2, 2]])], cancel=cancel)
    assert segmenter.encoded == []


def test_one_event_a_window_tells_what_was_done(runtime: Runtime) -> None:
    events: list[SegmentEvent] = []

    class Listener:
        @hookimpl
        def after_segment(self, event: SegmentEvent) -> None:
            events.append(event)

    with override_plugins({"listener": Listener()}):
        runtime.segment_batch([grey(1), grey(2)], [np.array([[0, 0, 2, 2]]), np.array([[0, 0, 2, 2], [1, 1, 5, 5]])])
    [event] = events
    assert (event.model, event.images, event.prompts, event.masks, event.encoded) == ("boxes", 2, 3, 3, 2)


def test_stream_takes_images_one_after_another(runtime: Runtime, segmenter: FilledBoxes) -> None:
    pairs = ((grey(i), Prompts.from_boxes([[0, 0, 2, 2]])) for i in range(40))
    answers = runtime.stream(pairs)
    next(answers)
    assert len(segmenter.encoded) < 40
    assert sum(len(masks) for masks in answers) == 39


def test_memory_must_be_positive(segmenter: FilledBoxes) -> None:
    with pytest.raises(InputError, match="positive number of bytes"):
        Runtime(segmenter, memory=0)


def test_what_was_encoded_apart_is_decoded_together(runtime: Runtime, segmenter: FilledBoxes) -> None:
    wanted = [(grey(51), [Prompt(box=(0, 0, 2, 2), label="door"), Prompt(points=[[20, 15]])]), (grey(102), [])]
    requests = [runtime.encode_request(image, Prompts.of(prompts)) for image, prompts in wanted]
    assert segmenter.decoded == []
    answers = runtime.decode_requests(requests)
    assert segmenter.decoded == [[2]]
    assert [len(masks) for masks in answers] == [2, 0]
    for masks, (image, prompts) in zip(answers, wanted):
        alone = runtime.segment(image, prompts)
        assert masks.equals(alone)
        assert (masks.labels, masks.scores.tolist()) == (alone.labels, alone.scores.tolist())


def test_bad_prompts_are_refused_before_anything_is_encoded(runtime: Runtime, segmenter: FilledBoxes) -> None:
    with pytest.raises(PromptError, match="outside"):
        runtime.segment(grey(51), Prompt(points=[[400, 15]]))
    assert segmenter.encoded == []


def test_the_old_names_of_the_two_halves_still_work_and_warn(runtime: Runtime) -> None:
    with pytest.warns(DeprecationWarning, match="encode_request"):
        request = runtime.prepare(grey(51), Prompt(box=(0, 0, 2, 2)))
    with pytest.warns(DeprecationWarning, match="decode_requests"):
        assert [len(masks) for masks in runtime.answer([request])] == [1]


def test_the_old_word_for_converters_still_works_and_warns(segmenter: FilledBoxes) -> None:
    with pytest.warns(DeprecationWarning, match="lowering= is now converters="):
        runtime = Runtime(segmenter, lowering=[WordBoxes()])  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match=r"Runtime\.converters"):
        assert runtime.lowering == runtime.converters
