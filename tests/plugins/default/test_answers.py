"""What `decode` answers: prompts are obeyed, clicks correct, scores mean something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.protocol import iou
from samovar import Image, Masks, Prompt
from samovar.embedding import Embedding
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.decoding import overlaps
from samovar_plugins.default.encoding import open_graph
from samovar_plugins.default.segmenter import DefaultSegmenter


def disc(size: int = 200, radius: int = 60) -> tuple[Image, NDArray[np.bool_]]:
    """A red disc on grey noise, and its mask."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(120, 6, (size, size, 3))
    ys, xs = np.ogrid[:size, :size]
    inside = (xs - size / 2) ** 2 + (ys - size / 2) ** 2 < radius**2
    pixels[inside] = rng.normal((200, 60, 50), 6, (int(inside.sum()), 3))
    return Image(np.clip(pixels, 0, 255).astype(np.uint8)), inside


def decoded(
    segmenter: DefaultSegmenter, embedding: Embedding, *prompts: Prompt, options: DecodeOptions | None = None
) -> Masks:
    """The masks of these prompts on one embedding."""
    return segmenter.decode([embedding], [Prompts.of(list(prompts))], options or DecodeOptions())[0]


@pytest.mark.slow
def test_a_box_a_click_and_a_mask_each_find_a_plain_disc(segmenter: DefaultSegmenter) -> None:
    image, truth = disc()
    (embedding,) = segmenter.encode([image])
    rough = np.roll(truth, 8, axis=1)
    prompts = Prompt(box=(40, 40, 160, 160)), Prompt(points=[[100, 100]]), Prompt(mask=rough)
    for found in decoded(segmenter, embedding, *prompts).to_array():
        assert iou(found, truth) > 0.9


def test_nothing_of_a_mask_lies_outside_its_box(segmenter: DefaultSegmenter) -> None:
    image, _ = disc()
    (embedding,) = segmenter.encode([image])
    found = decoded(segmenter, embedding, Prompt(box=(70, 60, 130, 190))).to_array()[0]
    ys, xs = np.nonzero(found)
    assert xs.min() >= 70
    assert xs.max() < 130
    assert ys.min() >= 60
    assert ys.max() < 190


def test_a_box_is_filled_to_its_sides_where_the_object_has_unlike_parts(
    segmenter: DefaultSegmenter, photo: Path
) -> None:
    """The shuttle's white orbiter sticks out of its brown tank, to the left side of the box around both."""
    (embedding,) = segmenter.encode([Image(photo.with_name("portrait.jpg"))])
    box = np.array([350, 0, 460, 285])
    masks = decoded(segmenter, embedding, Prompt(box=box))
    assert np.abs(masks.boxes[0] - box).max() <= 0.1 * 110


def test_a_background_click_takes_its_place_out_of_the_mask(segmenter: DefaultSegmenter) -> None:
    image, _ = disc()
    (embedding,) = segmenter.encode([image])
    both = Prompt(points=[[100, 100], [20, 20]], point_labels=[1, 0])
    found = decoded(segmenter, embedding, both).to_array()[0]
    assert found[100, 100]
    assert not found[20, 20]


def test_with_multimask_the_answers_differ_and_come_best_first(segmenter: DefaultSegmenter) -> None:
    """A click on the yolk of an egg can mean the yolk or the egg."""
    image, _ = disc(radius=80)
    pixels = np.array(image.pixels)
    ys, xs = np.ogrid[:200, :200]
    yolk = (xs - 100) ** 2 + (ys - 100) ** 2 < 30**2
    pixels[yolk] = (240, 220, 40)
    (embedding,) = segmenter.encode([Image(pixels)])
    masks = decoded(segmenter, embedding, Prompt(points=[[100, 100]]), options=DecodeOptions(multimask=True))
    assert 2 <= len(masks) <= 3
    assert list(masks.scores) == sorted(masks.scores, reverse=True)
    overlap = masks.iou(masks)
    assert (overlap[~np.eye(len(masks), dtype=bool)] < 0.97).all()
    assert max(iou(found, yolk) for found in masks.to_array()) > 0.9


def test_stability_is_asked_for_and_lies_between_0_and_1(segmenter: DefaultSegmenter) -> None:
    image, _ = disc()
    (embedding,) = segmenter.encode([image])
    options = DecodeOptions(stability_offset=1.0)
    masks = decoded(segmenter, embedding, Prompt(box=(40, 40, 160, 160)), options=options)
    assert masks.stability is not None
    assert 0.8 < masks.stability[0] <= 1


def test_a_lower_threshold_never_shrinks_a_mask(segmenter: DefaultSegmenter) -> None:
    image, _ = disc()
    (embedding,) = segmenter.encode([image])
    areas = [
        int(
            decoded(
                segmenter, embedding, Prompt(box=(40, 40, 160, 160)), options=DecodeOptions(mask_threshold=level)
            ).areas[0]
        )
        for level in (-2.0, 0.0, 2.0)
    ]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.slow
def test_answers_do_not_depend_on_what_else_is_asked(segmenter: DefaultSegmenter) -> None:
    image, _ = disc()
    (embedding,) = segmenter.encode([image])
    prompts = [Prompt(box=(40 + i, 40, 160, 160)) for i in range(5)] + [
        Prompt(points=[[100, 90 + i]]) for i in range(5)
    ]
    together = decoded(segmenter, embedding, *prompts)
    for number, prompt in enumerate(prompts):
        alone = decoded(segmenter, embedding, prompt)
        assert np.array_equal(alone.to_array()[0], together.to_array()[number])
        assert alone.scores[0] == together.scores[number]


def test_overlaps_are_ious_of_leaf_sets_however_many_leaves(segmenter: DefaultSegmenter, photo: Path) -> None:
    (embedding,) = segmenter.encode([Image(photo)])
    graph = open_graph(embedding.tensors, embedding.width, embedding.height)
    assert len(graph.area) > 512  # several blocks, the last one smaller
    rng = np.random.default_rng(0)
    one, other = rng.random((3, len(graph.area))) < 0.3, rng.random((4, len(graph.area))) < 0.3
    both = np.array([[graph.area[a & b].sum() / graph.area[a | b].sum() for b in other] for a in one])
    assert np.abs(overlaps(graph, one, other) - both).max() < 1e-5
