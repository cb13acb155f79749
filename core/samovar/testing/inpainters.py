"""`InpainterTests`: the contract of an inpainter, for pytest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from samovar.errors import SamovarError
from samovar.inpainting import Inpainter, MaskedImage
from samovar.testing.scenes import scene

__all__ = ["InpainterTests"]


class InpainterTests:
    """Subclass it beside a fixture `inpainter`.

    Class attributes that a subclass may set, saying why:
        side: about the side, in pixels, of the made-up images; the next multiple that the inpainter takes is used.
    """

    side: ClassVar[int] = 32

    def images(self, inpainter: Inpainter, count: int = 3) -> list[MaskedImage]:
        """`count` images of one size, each with a hole in another place."""
        side = -(-self.side // inpainter.multiple) * inpainter.multiple
        made = []
        for number in range(count):
            mask = np.zeros((side, side), bool)
            mask[side // 4 + number : side // 2 + number, side // 3 : side // 2] = True
            made.append(MaskedImage(scene(side, side, number).pixels, mask, number, 0, (0, 0, side, side)))
        return made

    def test_is_an_inpainter(self, inpainter: Inpainter) -> None:
        assert isinstance(inpainter, Inpainter)
        assert inpainter.native is None or inpainter.native >= 1
        assert inpainter.multiple >= 1
        assert inpainter.batch >= 1

    def test_no_images_give_no_answers(self, inpainter: Inpainter) -> None:
        assert list(inpainter.paint([])) == []

    def test_each_image_is_answered_in_its_size(self, inpainter: Inpainter) -> None:
        images = self.images(inpainter, min(3, inpainter.batch))
        answers = inpainter.paint(images)
        assert len(answers) == len(images)
        for image, painted in zip(images, answers):
            assert not isinstance(painted, SamovarError), painted
            assert painted.shape == image.pixels.shape
            assert painted.dtype == np.uint8

    def test_a_batch_equals_one_by_one(self, inpainter: Inpainter) -> None:
        if inpainter.batch == 1:
            pytest.skip("takes one at a time")
        images = self.images(inpainter, min(3, inpainter.batch))
        for image, together in zip(images, inpainter.paint(images)):
            (alone,) = inpainter.paint([image])
            assert np.array_equal(np.asarray(together)[image.mask], np.asarray(alone)[image.mask])

    def test_what_is_masked_is_not_looked_at(self, inpainter: Inpainter) -> None:
        (image,) = self.images(inpainter, 1)
        blank = MaskedImage(np.where(image.mask[..., None], np.uint8(0), image.pixels), image.mask, 0, 0, image.box)
        first, second = (np.asarray(inpainter.paint([one])[0]) for one in (image, blank))
        assert np.array_equal(first[image.mask], second[image.mask])

    def test_its_input_is_left_alone(self, inpainter: Inpainter) -> None:
        (image,) = self.images(inpainter, 1)
        pixels, mask = image.pixels.copy(), image.mask.copy()
        inpainter.paint([image])
        assert np.array_equal(image.pixels, pixels)
        assert np.array_equal(image.mask, mask)
