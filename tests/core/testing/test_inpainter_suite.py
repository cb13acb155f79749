"""The inpainter suite passes one that keeps every promise, and fails each mutant that breaks one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from samovar.inpainting import Inpainted, Inpainter, MaskedImage
from samovar.testing import InpainterTests
from tests.core.testing.suites import checks, failures


class MeanInpainter:
    """Fills a hole with the mean colour of what is around it."""

    native = None
    multiple = 8
    batch = 4

    def paint(self, images: Sequence[MaskedImage]) -> Sequence[Inpainted]:
        return [self.one(image) for image in images]

    def one(self, image: MaskedImage) -> Any:
        filled = image.pixels.copy()
        filled[image.mask] = self.colour(image)
        return filled

    def colour(self, image: MaskedImage) -> Any:
        return image.pixels[~image.mask].mean(axis=0)


@pytest.fixture
def inpainter() -> Inpainter:
    return MeanInpainter()


class TestMean(InpainterTests):
    pass


class Mutant(MeanInpainter):
    """One promise broken in each subclass."""

    breaks: str


class AnyMultiple(Mutant):
    breaks = "test_is_an_inpainter"
    multiple = 0


class NeedsOne(Mutant):
    breaks = "test_no_images_give_no_answers"

    def paint(self, images: Sequence[MaskedImage]) -> Sequence[Inpainted]:
        return super().paint(images) or [np.zeros((1, 1, 3), np.uint8)]


class Floats(Mutant):
    breaks = "test_each_image_is_answered_in_its_size"

    def one(self, image: MaskedImage) -> Any:
        return super().one(image).astype(np.float32)


class FirstForAll(Mutant):
    breaks = "test_a_batch_equals_one_by_one"

    def paint(self, images: Sequence[MaskedImage]) -> Sequence[Inpainted]:
        return [self.one(images[0]) for _ in images]


class Peeks(Mutant):
    breaks = "test_what_is_masked_is_not_looked_at"

    def colour(self, image: MaskedImage) -> Any:
        return image.pixels.mean(axis=(0, 1))


class EatsTheMask(Mutant):
    breaks = "test_its_input_is_left_alone"

    def one(self, image: MaskedImage) -> Any:
        filled = super().one(image)
        image.mask[:] = False
        return filled


MUTANTS = Mutant.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_an_inpainter_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: type[Mutant]) -> None:
    assert failures(InpainterTests, only=mutant.breaks, inpainter=mutant())


def test_every_check_is_failed_by_some_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == checks(InpainterTests)
