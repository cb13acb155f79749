"""What `Segmenter.decode` promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from samovar.embedding import Embedding
from samovar.errors import InputError
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions, Segmenter
from samovar.testing.compare import assert_same_masks
from samovar.testing.encoding import EncodingTests
from samovar.testing.scenes import all_at_once, prompt
from samovar.types import KINDS

__all__ = ["DecodingTests"]

PLAIN = DecodeOptions()


class DecodingTests(EncodingTests):
    """Part of `SegmenterTests`."""

    counts: ClassVar[Sequence[int]] = (3, 0, 5, 1, 2)

    def ragged(self, segmenter: Segmenter) -> tuple[list[Embedding], list[Prompts]]:
        """Embeddings of `images`, each with its own number of prompts, none included."""
        asked = [every[:count] for every, count in zip(self.some_prompts(segmenter, max(self.counts)), self.counts)]
        return self.embeddings(segmenter)[: len(asked)], asked

    def first(self, segmenter: Segmenter, *asked: Prompt, options: DecodeOptions = PLAIN) -> Masks:
        """What is answered to `asked`, by default the bright rectangle in each kind, on the first image."""
        image = self.images[0]
        given = asked or tuple(prompt(kind, image) for kind in KINDS if kind in segmenter.prompt_kinds)
        (masks,) = self.decode(segmenter, self.embeddings(segmenter)[:1], [Prompts.of(given)], options)
        return masks

    def test_decoding_no_images_gives_no_masks(self, segmenter: Segmenter) -> None:
        assert list(self.decode(segmenter, [], [], PLAIN)) == []

    def test_no_prompts_give_no_masks_of_the_right_size(self, segmenter: Segmenter) -> None:
        embeddings = self.embeddings(segmenter)
        none = [Prompts.of([])] * len(embeddings)
        for options in (PLAIN, DecodeOptions(multimask=True, logits=True, stability_offset=1.0)):
            for embedding, masks in zip(embeddings, self.decode(segmenter, embeddings, none, options)):
                assert len(masks) == 0
                assert (masks.width, masks.height) == (embedding.width, embedding.height)

    def test_masks_have_the_size_of_their_image(self, segmenter: Segmenter) -> None:
        embeddings, asked = self.ragged(segmenter)
        for embedding, masks in zip(embeddings, self.decode(segmenter, embeddings, asked, PLAIN)):
            assert isinstance(masks, Masks)
            assert (masks.width, masks.height) == (embedding.width, embedding.height)

    def test_without_multimask_each_prompt_gets_one_mask_in_order(self, segmenter: Segmenter) -> None:
        embeddings, asked = self.ragged(segmenter)
        for part, masks in zip(asked, self.decode(segmenter, embeddings, asked, PLAIN)):
            assert masks.prompt_index.tolist() == list(range(len(part)))

    def test_with_multimask_each_prompt_gets_up_to_three_masks_best_first(self, segmenter: Segmenter) -> None:
        embeddings, asked = self.ragged(segmenter)
        for part, masks in zip(asked, self.decode(segmenter, embeddings, asked, DecodeOptions(multimask=True))):
            index = masks.prompt_index
            assert index.tolist() == sorted(index.tolist())
            assert sorted(set(index.tolist())) == list(range(len(part)))
            for number in range(len(part)):
                scores = masks.scores[index == number].tolist()
                assert 1 <= len(scores) <= 3
                assert scores == sorted(scores, reverse=True)

    @pytest.mark.parametrize("multimask", [False, True])
    def test_scores_are_finite_and_between_0_and_1(self, segmenter: Segmenter, multimask: bool) -> None:
        embeddings, asked = self.ragged(segmenter)
        for masks in self.decode(segmenter, embeddings, asked, DecodeOptions(multimask=multimask)):
            assert masks.scores.shape == (len(masks),)
            assert np.isfinite(masks.scores).all()
            assert ((masks.scores >= 0) & (masks.scores <= 1)).all()

    @pytest.mark.parametrize("multimask", [False, True])
    def test_decoding_ragged_batches_equals_decoding_one_by_one(self, segmenter: Segmenter, multimask: bool) -> None:
        embeddings, asked = self.ragged(segmenter)
        options = DecodeOptions(multimask=multimask)
        together = self.decode(segmenter, embeddings, asked, options)
        for embedding, part, masks in zip(embeddings, asked, together):
            singles = [self.decode(segmenter, [embedding], [part[i : i + 1]], options)[0] for i in range(len(part))]
            alone = [single.replace(prompt_index=single.prompt_index + i) for i, single in enumerate(singles)]
            expected = Masks.concat(alone) if alone else Masks.empty(embedding.width, embedding.height)
            assert_same_masks(masks, expected, self.agreement, self.tolerance)

    def test_the_same_image_may_come_twice_in_a_batch(self, segmenter: Segmenter) -> None:
        embedding, asked = self.embeddings(segmenter)[0], self.some_prompts(segmenter)[0]
        first, second = self.decode(segmenter, [embedding, embedding], [asked[:1], asked], PLAIN)
        assert_same_masks(first, second[:1], self.agreement, self.tolerance)

    def test_the_order_of_the_prompts_does_not_matter(self, segmenter: Segmenter) -> None:
        rows = list(self.some_prompts(segmenter)[0])
        forward, backward = self.first(segmenter, *rows), self.first(segmenter, *rows[::-1])
        turned = backward[np.arange(len(rows))[::-1]].replace(prompt_index=np.arange(len(rows)))
        assert_same_masks(turned, forward, self.agreement, self.tolerance)

    def test_decoding_is_deterministic(self, segmenter: Segmenter) -> None:
        embeddings, asked = self.ragged(segmenter)
        options = DecodeOptions(multimask=True)
        for first, second in zip(
            self.decode(segmenter, embeddings, asked, options), self.decode(segmenter, embeddings, asked, options)
        ):
            assert_same_masks(first, second, 1.0, 0.0)

    def test_an_embedding_of_another_segmenter_is_refused(self, segmenter: Segmenter) -> None:
        foreign = replace(self.embeddings(segmenter)[0], fingerprint=f"not {segmenter.fingerprint}")
        with pytest.raises(InputError):
            self.decode(segmenter, [foreign], self.some_prompts(segmenter)[:1], PLAIN)

    def test_every_kind_that_it_names_is_taken_alone(self, segmenter: Segmenter) -> None:
        for kind in (kind for kind in KINDS if kind in segmenter.prompt_kinds):
            assert len(self.first(segmenter, prompt(kind, self.images[0]))) == 1, kind

    def test_all_kinds_that_it_names_are_taken_in_one_prompt(self, segmenter: Segmenter) -> None:
        assert len(self.first(segmenter, all_at_once(segmenter.prompt_kinds, self.images[0]))) == 1

    def test_points_on_the_border_and_boxes_beyond_it_are_taken(self, segmenter: Segmenter) -> None:
        width, height = self.images[0].width, self.images[0].height
        at_the_edge = [
            Prompt(points=[(0, 0)]),
            Prompt(points=[(width, height)]),
            Prompt(points=[(1.25, 1.75), (width - 0.01, 0)], point_labels=[1, 0]),
            Prompt(points=[(width / 2, height / 2)], point_labels=[0]),
            Prompt(box=(-10, -20, width + 30, height + 40)),
            Prompt(box=(width - 0.5, height - 0.5, width + 9, height + 9)),
            Prompt(box=(3.2, 3.2, 3.3, 3.3)),
        ]
        taken = [row for row in at_the_edge if row.kinds <= segmenter.prompt_kinds]
        if not taken:
            pytest.skip("takes neither points nor boxes")
        assert len(self.first(segmenter, *taken)) == len(taken)

    def test_logits_are_kept_when_asked_for_and_left_out_otherwise(self, segmenter: Segmenter) -> None:
        assert self.first(segmenter).logits is None
        masks = self.first(segmenter, options=DecodeOptions(logits=True))
        if masks.logits is None:
            return  # a segmenter that works without logits refines from the mask itself
        assert masks.logits.ndim == 3
        assert len(masks.logits) == len(masks)
        assert masks.logits.dtype == np.float32
        assert np.isfinite(masks.logits).all()

    @pytest.mark.parametrize("logits", [False, True])
    def test_an_answer_can_be_asked_about_again(self, segmenter: Segmenter, logits: bool) -> None:
        if "mask" not in segmenter.prompt_kinds:
            pytest.skip("takes no masks")
        answer = self.first(segmenter, options=DecodeOptions(logits=logits))
        again = self.first(segmenter, *(Prompt.from_mask(mask) for mask in answer), options=DecodeOptions(logits=True))
        assert len(again) == len(answer)
        assert (again.width, again.height) == (answer.width, answer.height)

    @pytest.mark.parametrize("multimask", [False, True])
    def test_stability_is_filled_when_asked_for(self, segmenter: Segmenter, multimask: bool) -> None:
        masks = self.first(segmenter, options=DecodeOptions(multimask=multimask, stability_offset=1.0))
        assert masks.stability is not None
        assert masks.stability.shape == (len(masks),)
        assert np.isfinite(masks.stability).all()
        assert ((masks.stability >= 0) & (masks.stability <= 1)).all()

    def test_a_higher_threshold_never_makes_masks_larger(self, segmenter: Segmenter) -> None:
        low, high = (self.first(segmenter, options=DecodeOptions(mask_threshold=at)).areas for at in (-1.0, 1.0))
        assert (high <= low).all()

    def test_decode_bytes_is_a_positive_whole_number_that_grows_with_the_image(self, segmenter: Segmenter) -> None:
        small, large = segmenter.decode_bytes(64, 48), segmenter.decode_bytes(4000, 3000)
        assert isinstance(small, int)
        assert isinstance(large, int)
        assert 0 < small <= large
