"""What starts by a text, a source, or by itself, and what is found to have entered when it is asked again."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np
import pytest

import samovar
from samovar import Image, Masks, Prompt, Prompts, Runtime
from samovar_adapters.video import Frame, Initialiser, follow
from samovar_plugins.propagate.tracker import PropagateTracker
from tests.adapters.video.clips import ball, clip, iou, meadow

pytestmark = pytest.mark.slow


class Reds:
    """A grounder for one thing: a box around each red place, for every text."""

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        found, asks = [], requests or [Prompts.of(()) for _ in images]
        for image, asked in zip(images, asks):
            red = image.pixels.astype(int) @ [1, -1, -1] > 0
            _, _, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(red.astype(np.uint8), np.ones((9, 9))))
            boxes = [(x + 3, y + 3, x + w - 3, y + h - 3) for x, y, w, h, _ in stats[1:].tolist() if w * h > 400]
            label = asked.texts[0] if asked.texts else None
            found.append(Prompts.of([Prompt(box=box, label=label) for box in boxes]))
        return found


ENTERS = 6


def where(number: int) -> list[tuple[int, int] | None]:
    return [(40 + 3 * number, 40), (150, 90) if number >= ENTERS else None]


IMAGES, TRUTH = clip(meadow(), [ball((210, 50, 40)), ball((210, 50, 40), 14)], where, 14)
FRAMES = [Frame(number, Fraction(number, 25), image) for number, image in enumerate(IMAGES)]


@pytest.fixture(scope="module")
def sam() -> Runtime:
    default = samovar.load("default", cache="off")
    return Runtime(default.segmenter, name="default", cache="off", converters=[Reds()])


@pytest.mark.parametrize("kind", ["text", "source", "everything"])
def test_what_enters_is_followed_from_the_next_look_on(sam: Runtime, kind: str) -> None:
    starter = {
        "text": Initialiser(sam, Prompts.of(Prompt(text="ball", label="ball"))),
        "source": Initialiser(sam, source=Reds()),
        "everything": Initialiser(sam, everything=True),
    }[kind]
    found = [masks for _, masks in follow(FRAMES, PropagateTracker(sam), starter, every=4)]

    def who(masks: Masks, truth: np.ndarray) -> list[object]:
        return [masks.ids[row] for row in range(len(masks)) if masks.areas[row] and iou(masks, row, truth) > 0.6]

    (first,) = who(found[0], TRUTH[0][0])
    assert who(found[-1], TRUTH[-1][0]) == [first]
    assert who(found[7], TRUTH[7][1]) == []
    (second,) = who(found[8], TRUTH[8][1])
    assert who(found[-1], TRUTH[-1][1]) == [second]
    if kind == "text":
        assert (found[-1].ids, found[-1].labels) == ((1, 2), ("ball", "ball"))


def test_it_looks_only_once_unless_told_otherwise(sam: Runtime) -> None:
    starter = Initialiser(sam, Prompts.of(Prompt(text="ball")))
    found = [masks for _, masks in follow(FRAMES, PropagateTracker(sam), starter)]
    assert {masks.ids for masks in found} == {(1,)}
