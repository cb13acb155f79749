"""What is answered to which prompt: ambiguity, order, refinement, limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samovar.embedding import Embedding
from samovar.errors import PromptError
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions
from samovar.testing.scenes import scene
from samovar_plugins.sam.plugin import Kind
from samovar_plugins.toolkit import SamSegmenter, group_prompts
from tests.plugins.sam.models import FAMILIES, tiny, tiny_of
from tests.plugins.sam.weights import random_weights

pytestmark = pytest.mark.slow

ONE, THREE = DecodeOptions(logits=True), DecodeOptions(multimask=True, logits=True)
CLICK = Prompt(points=[(30, 20)])


def embedded(model: SamSegmenter, image: Image | None = None) -> Embedding:
    return model.encode([image or scene(64, 48)])[0]


def answer(model: SamSegmenter, *prompts: Prompt, options: DecodeOptions = ONE) -> Masks:
    return model.decode([embedded(model)], [Prompts.of(prompts)], options)[0]


@pytest.mark.parametrize("family", ["sam", "mobile-sam", "efficient-sam"])
def test_a_single_click_is_answered_with_the_best_of_three(family: Kind) -> None:
    model = tiny(family)
    one, three = answer(model, CLICK), answer(model, CLICK, options=THREE)
    assert len(three) == 3
    assert one.scores[0] == pytest.approx(three.scores[0], abs=1e-5)
    assert one.logits is not None
    assert three.logits is not None
    np.testing.assert_allclose(one.logits[0], three.logits[0], atol=1e-4)


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(points=[(30, 20), (10, 9)]),
        Prompt(points=[(30, 20)], box=(5, 5, 50, 40)),
        Prompt(box=(5, 5, 50, 40)),
    ],
)
def test_other_prompts_are_answered_with_the_mask_made_for_them(prompt: Prompt) -> None:
    model = tiny("sam")
    one, three = answer(model, prompt), answer(model, prompt, options=THREE)
    assert one.logits is not None
    assert three.logits is not None
    assert min(np.abs(one.logits[0] - other).max() for other in three.logits) > 1e-2


@pytest.mark.parametrize("family", ["sam-hq", "sam-hq-tiny"])
def test_sam_hq_gives_one_mask_a_prompt(family: Kind) -> None:
    assert len(answer(tiny(family), CLICK, Prompt(box=(5, 5, 50, 40)), options=THREE)) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_of_different_lengths_do_not_change_each_other(family: Kind) -> None:
    model = tiny(family)
    prompts = [
        CLICK,
        Prompt(points=[(30, 20), (10, 9), (40, 30)], point_labels=[1, 0, 1]),
        Prompt(box=(5, 5, 50, 40)),
        Prompt(points=[(30, 20), (10, 9)], box=(5, 5, 50, 40)),
    ]
    together = answer(model, *prompts)
    assert together.logits is not None
    for number, prompt in enumerate(prompts):
        alone = answer(model, prompt)
        assert alone.logits is not None
        np.testing.assert_allclose(together.logits[number], alone.logits[0], atol=1e-4)


def test_a_hundred_points_in_one_prompt_are_taken() -> None:
    points = np.random.default_rng(0).uniform(0, 48, (100, 2))
    assert len(answer(tiny("sam"), Prompt(points=points))) == 1


def test_more_points_than_efficient_sam_takes_are_refused() -> None:
    with pytest.raises(PromptError, match="at most 6 points"):
        answer(tiny("efficient-sam"), Prompt(points=[(i, i) for i in range(5)], box=(1, 1, 9, 9)))


def test_logits_go_back_in_and_change_the_answer() -> None:
    model = tiny("sam")
    first = answer(model, Prompt(box=(5, 5, 50, 40)))
    assert first.logits is not None
    plain = answer(model, CLICK, Prompt(points=CLICK.points, mask=first.logits[0]))
    assert plain.logits is not None
    assert np.abs(plain.logits[0] - plain.logits[1]).max() > 1e-3


def test_a_mask_of_pixels_is_taken_as_confident_logits() -> None:
    model = tiny("sam")
    pixels = np.zeros((48, 64), bool)
    pixels[:24, :32] = True
    logits = np.full((16, 16), -np.log(999), np.float32)
    logits[:6, :8] = np.log(999)
    by_pixels, by_logits = answer(model, Prompt(mask=pixels)), answer(model, Prompt(mask=logits))
    assert by_pixels.logits is not None
    assert by_logits.logits is not None
    np.testing.assert_allclose(by_pixels.logits, by_logits.logits, atol=1e-4)


def test_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(PromptError, match="must be 16×16"):
        answer(tiny("sam"), Prompt(mask=np.full((256, 256), -1, np.float32)))


def test_five_thousand_prompts_are_answered_in_order() -> None:
    model = tiny("sam")
    boxes = np.random.default_rng(0).uniform(0, 20, (5000, 4)).astype(np.float32)
    boxes[:, 2:] += boxes[:, :2] + 1
    (masks,) = model.decode([embedded(model)], [Prompts.from_boxes(boxes)], DecodeOptions())
    assert masks.prompt_index.tolist() == list(range(5000))


@pytest.mark.parametrize("size", [(1, 1), (2000, 20), (3, 900)])
@pytest.mark.parametrize("family", FAMILIES)
def test_images_of_extreme_shapes_are_taken(family: Kind, size: tuple[int, int]) -> None:
    model = tiny(family)
    image = scene(*size)
    (masks,) = model.decode([embedded(model, image)], [Prompts.of(Prompt(box=(0, 0, *size)))], DecodeOptions())
    assert (masks.width, masks.height) == size


def test_coordinates_are_scaled_in_double_precision_and_rounded_once() -> None:
    prompts = Prompts.from_boxes([[1.1, 2.2, 300.3, 400.4]])
    (group,) = group_prompts(prompts, (1024 / 3001, 683 / 2003))
    assert group.boxes is not None
    given = prompts.boxes[0].astype(np.float64)
    expected = given * [1024 / 3001, 683 / 2003, 1024 / 3001, 683 / 2003]
    assert group.boxes[0].tolist() == expected.astype(np.float32).tolist()


def test_bfloat16_gives_nearly_the_same_logits() -> None:
    exact = tiny("sam")
    rounded = tiny_of("sam", random_weights("sam"), dtype=torch.bfloat16)
    ours = rounded.decode([embedded(rounded)], [Prompts.of(Prompt(box=(5, 5, 50, 40)))], ONE)[0]
    theirs = answer(exact, Prompt(box=(5, 5, 50, 40)))
    assert ours.logits is not None
    assert theirs.logits is not None
    assert np.corrcoef(ours.logits.ravel(), theirs.logits.ravel())[0, 1] > 0.97
