"""The prompt source suite passes one that keeps every promise, and fails each mutant that breaks one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import pytest

from samovar import Image, Prompt, Prompts, PromptSource
from samovar.testing import PromptSourceTests
from samovar.testing.scenes import scenes
from samovar.types import Kind
from tests.core.testing.suites import checks, failures


class BrightBoxes:
    """A box around the bright pixels of a picture; asked for something in words, it answers with that box as well."""

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        if requests is None:
            return [Prompts.of(self.found(image)) for image in images]
        return [self.converted(image, asked) for image, asked in zip(images, requests)]

    def found(self, image: Image) -> list[Prompt]:
        rows, columns = np.nonzero(image.pixels.mean(axis=2) > 150)
        if not len(rows):
            return []
        return [Prompt(box=(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), label="bright")]

    def converted(self, image: Image, asked: Prompts) -> Prompts:
        return Prompts.of(
            [Prompt(box=found.box, label=row.label, id=row.id) for row in asked for found in self.found(image)]
        )


class Finding(PromptSourceTests):
    """A source that finds boxes."""

    produces: ClassVar[Sequence[Kind]] = ("box",)


class Converting(Finding):
    """The same, asked to convert text."""

    converts: ClassVar[Sequence[Kind]] = ("text",)


@pytest.fixture
def source() -> PromptSource:
    return BrightBoxes()


class TestFinding(Finding):
    pass


class TestConverting(Converting):
    pass


class Mutant(BrightBoxes):
    """One promise broken in each subclass."""

    breaks: str


class AnswersNobody(Mutant):
    breaks = "test_no_images_give_no_answers"

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return super().prompts(images, requests) or [Prompts.of([])]


class Backwards(Mutant):
    breaks = "test_each_image_gets_its_prompts_in_order"

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return super().prompts(images, requests)[::-1]


class LeavesOutTheEmpty(Mutant):
    breaks = "test_each_image_gets_its_prompts_in_order"

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return super().prompts(images, requests)[1:]


class GivesPoints(Mutant):
    breaks = "test_prompts_are_of_the_kinds_that_it_names"

    def found(self, image: Image) -> list[Prompt]:
        return [Prompt(points=[(0.5, 0.5)])]


class InFractions(Mutant):
    breaks = "test_prompts_lie_on_their_image"

    def found(self, image: Image) -> list[Prompt]:
        return [Prompt(box=(image.width * 10, 0, image.width * 20, image.height))]


class Random(Mutant):
    breaks = "test_answers_are_deterministic"

    def found(self, image: Image) -> list[Prompt]:
        return [Prompt(box=(0, 0, 0.1 + np.random.default_rng().random(), 1))]


class ForgetsLabels(Mutant):
    breaks = "test_labels_and_ids_of_what_it_converts_ride_through"

    def converted(self, image: Image, asked: Prompts) -> Prompts:
        return Prompts.of([Prompt(box=row.box) for row in super().converted(image, asked)])


class SharedBetweenThreads(Mutant):
    breaks = "test_any_number_of_threads_may_call_it_at_once"
    image: Image

    def found(self, image: Image) -> list[Prompt]:
        self.image = image
        time.sleep(0.002)
        return super().found(self.image)


class LooksInSecret(Mutant):
    breaks = "test_one_that_needs_no_pixels_looks_at_none"
    needs_pixels = False


class WholeImage(BrightBoxes):
    """Not a mutant: a box around everything, for which no pixel need be looked at."""

    needs_pixels = False

    def found(self, image: Image) -> list[Prompt]:
        return [Prompt(box=(0, 0, image.width, image.height), label="all")]


MUTANTS = Mutant.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_source_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: Callable[[], Mutant]) -> None:
    broken = mutant()
    assert failures(Converting, only=broken.breaks, source=broken, images=scenes())


def test_every_check_is_failed_by_some_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == checks(PromptSourceTests) - {"test_is_a_prompt_source"}


@pytest.mark.parametrize("source", [BrightBoxes(), WholeImage()])
def test_a_source_that_keeps_its_promises_fails_nothing(source: PromptSource) -> None:
    assert failures(Converting, source=source, images=scenes()) == {}


def test_the_old_words_for_kinds_still_work_and_warn() -> None:
    with pytest.warns(DeprecationWarning, match=r"Old\.gives is now Old\.produces"):

        class Old(PromptSourceTests):
            gives: ClassVar[Sequence[Kind]] = ("points",)

    assert Old.produces == ("points",)
