"""The tracker suite passes one that keeps every promise, and fails each mutant that breaks one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest

from samovar import Image, Masks, Prompt, Prompts
from samovar.errors import InputError, PromptError
from samovar.prompts import PromptsLike
from samovar.testing import TrackerTests
from samovar.tracking import EditableTracker, PrefetchingTracker, ResumableTracker, Snapshot, Tracker
from samovar.types import ObjectId
from tests.core.testing.suites import checks, failures


class Watching:
    """`start` and `step` alone: every object is the box that it was prompted with, as if nothing moved."""

    def __init__(self) -> None:
        self.frame: Image | None = None
        self.objects: list[tuple[ObjectId, str | None, Any]] = []

    def start(self, frame: Image, prompts: PromptsLike) -> Masks:
        self.objects, self.frame = [], frame
        return self._take(prompts)

    def step(self, frame: Image) -> Masks:
        before = self._latest()
        if (frame.width, frame.height) != (before.width, before.height):
            raise InputError("a frame of another size")
        self.frame = frame
        return self.masks()

    def masks(self) -> Masks:
        frame = self._latest()
        dense = np.zeros((len(self.objects), frame.height, frame.width), bool)
        for number, (_, _, (x1, y1, x2, y2)) in enumerate(self.objects):
            dense[number, int(y1) : int(y2), int(x1) : int(x2)] = True
        ids, labels = [one[0] for one in self.objects], [one[1] for one in self.objects]
        found = Masks.from_array(dense).replace(ids=ids, labels=labels, scores=np.full(len(dense), 0.5))
        return found.replace(scores=np.where(found.areas > 0, found.scores, 0))

    def _take(self, prompts: PromptsLike) -> Masks:
        frame, asked, objects = self._latest(), Prompts.of(prompts), list(self.objects)
        asked.check_inside(frame.width, frame.height)
        for prompt in asked:
            taken = [one[0] for one in objects]
            if prompt.id in taken:
                raise PromptError("two of one id")
            free = next(number for number in range(1, 99) if number not in taken)
            objects.append((free if prompt.id is None else prompt.id, prompt.label, prompt.box))
        self.objects = objects
        return self.masks()

    def _latest(self) -> Image:
        if self.frame is None:
            raise InputError("no frame yet")
        return self.frame


class Able(Watching):
    """The same with every ability."""

    def add(self, prompts: PromptsLike) -> Masks:
        return self._take(prompts)

    def remove(self, ids: Iterable[ObjectId]) -> None:
        for one in ids:
            self.objects.pop(self._place(one))

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        Prompts.of(prompt).check_inside(self._latest().width, self._latest().height)
        place = self._place(id)
        self.objects[place] = (*self.objects[place][:2], prompt.box)
        return self.masks()

    def _place(self, id: ObjectId) -> int:
        ids = [one[0] for one in self.objects]
        if id not in ids:
            raise InputError("nobody of that id")
        return ids.index(id)

    def snapshot(self) -> Snapshot:
        frame = self._latest()
        rows = {str(number): np.array(one[2]) for number, one in enumerate(self.objects)}
        names = [f"{type(one[0]).__name__} {one[0]}\n{one[1] or ''}" for one in self.objects]
        return {"size": np.array([frame.width, frame.height]), "names": np.array(names, str), **rows}

    def restore(self, snapshot: Snapshot) -> None:
        if "size" not in snapshot:
            raise InputError("of another kind of tracker")
        width, height = snapshot["size"].tolist()
        self.frame, self.objects = Image(np.zeros((height, width, 3), np.uint8)), []
        for number, text in enumerate(snapshot["names"].tolist()):
            (kind, name), label = text.partition("\n")[0].split(" "), text.partition("\n")[2]
            self.objects.append((int(name) if kind == "int" else name, label or None, snapshot[str(number)]))

    def prefetch(self, frames: Iterable[Image]) -> None:
        list(frames)


@pytest.mark.parametrize(("make", "able"), [(Watching, False), (Able, True)])
def test_abilities_are_seen_by_their_protocols(make: Callable[[], Tracker], able: bool) -> None:
    tracker = make()
    assert isinstance(tracker, Tracker)
    for ability in (EditableTracker, ResumableTracker, PrefetchingTracker):
        assert isinstance(tracker, ability) == able


class TestWatching(TrackerTests):
    @pytest.fixture
    def new_tracker(self) -> Callable[[], Tracker]:
        return Watching


class TestAble(TrackerTests):
    @pytest.fixture
    def new_tracker(self) -> Callable[[], Tracker]:
        return Able


class Mutant(Able):
    """One promise broken in each subclass."""

    breaks: str


class ForgetsIds(Mutant):
    breaks = "test_objects_keep_ids_and_labels_in_their_order"

    def step(self, frame: Image) -> Masks:
        masks = super().step(frame)
        return masks.replace(ids=range(len(masks)))


class RemovesAll(Mutant):
    breaks = "test_objects_come_and_go"

    def remove(self, ids: Iterable[ObjectId]) -> None:
        self.objects = []


class KeepsNumbers(Mutant):
    breaks = "test_what_was_removed_may_be_followed_anew_at_once"

    def remove(self, ids: Iterable[ObjectId]) -> None:
        for one in ids:
            self.objects.append((f"ghost of {one}", None, self.objects.pop(self._place(one))[2]))


class AddsHalf(Mutant):
    breaks = "test_prompts_that_are_refused_change_nothing"

    def add(self, prompts: PromptsLike) -> Masks:
        for prompt in Prompts.of(prompts):
            self._take(prompt)
        return self.masks()


class StartsOnTop(Mutant):
    breaks = "test_start_forgets"

    def start(self, frame: Image, prompts: PromptsLike) -> Masks:
        self.frame = frame
        return self._take(prompts)


class HintsChangeIt(Mutant):
    breaks = "test_the_same_frames_give_the_same_masks"

    def prefetch(self, frames: Iterable[Image]) -> None:
        self.objects = self.objects[:1]


class CorrectsTheLast(Mutant):
    breaks = "test_a_correction_is_of_one_object"

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        return super().correct(self.objects[-1][0], prompt)


class ForgetsLabels(Mutant):
    breaks = "test_a_restored_one_goes_on_as_the_saved_one"

    def restore(self, snapshot: Snapshot) -> None:
        super().restore(snapshot)
        self.objects = [(number, None, box) for number, _, box in self.objects]


class TakesAnySize(Mutant):
    breaks = "test_what_it_cannot_do_is_said"

    def step(self, frame: Image) -> Masks:
        self._latest()
        self.frame = frame
        return self.masks()


MUTANTS = Mutant.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_tracker_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: type[Mutant]) -> None:
    frames = TrackerTests.frames.__wrapped__(TrackerTests())  # type: ignore[attr-defined]
    assert failures(TrackerTests, only=mutant.breaks, new_tracker=mutant, frames=frames)


def test_every_check_is_failed_by_some_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == checks(TrackerTests) - {"test_is_a_tracker"}
