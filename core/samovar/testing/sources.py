"""`PromptSourceTests`: the contract of a prompt source, for pytest."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from samovar.deprecation import warn_renamed
from samovar.image import Image
from samovar.prompts import Prompt, Prompts
from samovar.protocols import PixelNeeds, PromptSource
from samovar.testing.scenes import prompt, scenes, undecodable
from samovar.types import KINDS, Kind

__all__ = ["PromptSourceTests"]


class PromptSourceTests:
    """Subclass it beside a fixture `source`.

    Override the fixture `images` with images in which the source finds something: by default they are made up, and
    then an answer of no prompts at all is believed.

    Class attributes that a subclass sets:
        produces: the kinds of prompt it answers with, as in its spec. Any, if not set.
        converts: the kinds that it turns into those, as in its spec. None, if not set.
    """

    produces: ClassVar[Sequence[Kind]] = KINDS
    converts: ClassVar[Sequence[Kind]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for old, new in (("gives", "produces"), ("lowers", "converts")):
            if old in vars(cls):
                warn_renamed(f"{cls.__name__}.{old}", f"{cls.__name__}.{new}")
                setattr(cls, new, vars(cls)[old])

    @pytest.fixture
    def images(self) -> list[Image]:
        """Pictures to look at."""
        return scenes()

    def requests(self, images: Sequence[Image]) -> list[Prompts] | None:
        """What is asked of a source that converts: some prompts for each image, with labels and ids; else None."""
        if not self.converts:
            return None
        rows = [[_request(kind, image, i) for i, kind in enumerate(self.converts)] for image in images]
        return [Prompts.of(row * (1 + number % 2)) for number, row in enumerate(rows)]

    def test_is_a_prompt_source(self, source: PromptSource) -> None:
        assert isinstance(source, PromptSource)

    def test_no_images_give_no_answers(self, source: PromptSource) -> None:
        assert list(source.prompts([], self.requests([]))) == []

    def test_each_image_gets_its_prompts_in_order(self, source: PromptSource, images: list[Image]) -> None:
        asked = self.requests(images)
        together = source.prompts(images, asked)
        assert len(together) == len(images)
        for number, (image, got) in enumerate(zip(images, together)):
            assert isinstance(got, Prompts)
            (alone,) = source.prompts([image], None if asked is None else [asked[number]])
            _assert_same(got, alone)

    def test_prompts_are_of_the_kinds_that_it_names(self, source: PromptSource, images: list[Image]) -> None:
        for got in source.prompts(images, self.requests(images)):
            assert got.kinds <= set(self.produces)

    def test_prompts_lie_on_their_image(self, source: PromptSource, images: list[Image]) -> None:
        for image, got in zip(images, source.prompts(images, self.requests(images))):
            got.check_inside(image.width, image.height)

    def test_answers_are_deterministic(self, source: PromptSource, images: list[Image]) -> None:
        asked = self.requests(images)
        for first, second in zip(source.prompts(images, asked), source.prompts(images, asked)):
            _assert_same(first, second)

    def test_labels_and_ids_of_what_it_converts_ride_through(self, source: PromptSource, images: list[Image]) -> None:
        asked = self.requests(images)
        if asked is None:
            pytest.skip("converts nothing")
        for request, got in zip(asked, source.prompts(images, asked)):
            assert len(got.labels) == len(got.ids) == len(got)
            pairs = set(zip(request.labels, request.ids))
            assert set(zip(got.labels, got.ids)) <= pairs

    def test_one_that_needs_no_pixels_looks_at_none(self, source: PromptSource, tmp_path: Path) -> None:
        if not isinstance(source, PixelNeeds) or source.needs_pixels:
            pytest.skip("needs pixels")
        images = [undecodable(40, 30, tmp_path)]
        source.prompts(images, self.requests(images))

    def test_any_number_of_threads_may_call_it_at_once(self, source: PromptSource, images: list[Image]) -> None:
        asked = self.requests(images)
        expected = source.prompts(images, asked)

        def work(number: int) -> Prompts:
            return source.prompts([images[number]], None if asked is None else [asked[number]])[0]

        with ThreadPoolExecutor(4) as pool:
            numbers = [*range(len(images))] * 4
            for number, got in zip(numbers, pool.map(work, numbers)):
                _assert_same(got, expected[number])


def _request(kind: Kind, image: Image, number: int) -> Prompt:
    asked = prompt(kind, image, number)
    return Prompt(
        points=asked.points,
        point_labels=asked.point_labels,
        box=asked.box,
        mask=asked.mask,
        text=asked.text,
        exemplar=asked.exemplar,
        label=f"label {number}",
        id=number,
    )


def _assert_same(got: Prompts, expected: Prompts) -> None:
    assert len(got) == len(expected)
    assert np.array_equal(got.boxes, expected.boxes, equal_nan=True)
    assert np.array_equal(got.points, expected.points)
    assert np.array_equal(got.point_labels, expected.point_labels)
    assert np.array_equal(got.point_offsets, expected.point_offsets)
    assert (got.texts, got.labels, got.ids) == (expected.texts, expected.labels, expected.ids)
    assert len(got.masks) == len(expected.masks)
