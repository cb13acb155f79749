"""`SegmenterTests`: the contract of a segmenter, for pytest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from samovar.cache.entry import Entry
from samovar.cache.tensors import from_torch, is_torch
from samovar.embedding import Embedding
from samovar.errors import InputError
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompt, Prompts
from samovar.protocols import DecodeOptions, Segmenter
from samovar.testing.scenes import SIZES, all_at_once, prompt, prompts, scenes
from samovar.types import KINDS

__all__ = ["SegmenterTests"]

PLAIN = DecodeOptions()


class SegmenterTests:
    """Subclass it beside a fixture `segmenter`; with `scope="module"` the model is loaded once for all tests.

    Every subclass overrides `load_weights`, by which the suite sees that other weights have another fingerprint.

    Class attributes that a subclass may set, saying why:
        sizes: width and height of the made-up images.
        counts: how many prompts each of them gets in ragged batches.
        tolerance: by how much floats (tensors, scores) may differ between a batch and one by one, relative to the
            largest of them. 0, exactly the same, unless the arithmetic depends on the size of the batch.
        agreement: the IoU that masks must reach then. 1.
        half_agreement: the mean IoU of masks from embeddings kept in half precision with those from exact ones.
        threads: how many threads call it at once.
    """

    sizes: ClassVar[Sequence[tuple[int, int]]] = SIZES
    counts: ClassVar[Sequence[int]] = (3, 0, 5, 1, 2)
    tolerance: ClassVar[float] = 0.0
    agreement: ClassVar[float] = 1.0
    half_agreement: ClassVar[float] = 0.95
    threads: ClassVar[int] = 4

    _encoded: ClassVar[tuple[Segmenter, list[Embedding]] | None] = None

    def load_weights(self, path: Path, *, encoder: int, decoder: int) -> Segmenter | None:
        """To override: the model, loaded from weights that this writes to `path`, over those that lay there before.

        The weights of the encoder follow from the seed `encoder` and all others from `decoder`: equal seeds, equal
        weights. A small model will do. Return None where there are no weights at all.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must override load_weights (see samovar.testing.SegmenterTests): a fingerprint "
            "that stays the same under other weights gives stale embeddings; return None if the model has no weights"
        )

    @property
    def images(self) -> list[Image]:
        """Made-up images of the sizes in `sizes`."""
        return scenes(self.sizes)

    def embeddings(self, segmenter: Segmenter) -> list[Embedding]:
        """Those of `images`, encoded once for all tests of one segmenter."""
        kept = type(self)._encoded
        if kept is None or kept[0] is not segmenter:
            kept = type(self)._encoded = (segmenter, self.encode(segmenter, self.images))
        return kept[1]

    def _loaded(self, path: Path, *seeds: tuple[int, int]) -> list[Segmenter]:
        """What `load_weights` makes of the seeds (encoder, decoder), one after the other at one path."""
        models = [self.load_weights(path, encoder=encoder, decoder=decoder) for encoder, decoder in seeds]
        loaded = [model for model in models if model is not None]
        if not loaded:
            pytest.skip("has no weights")
        return loaded

    def encode(self, segmenter: Segmenter, images: Sequence[Image]) -> list[Embedding]:
        """Call `encode`, and see that each image is answered."""
        embeddings = segmenter.encode(images)
        assert len(embeddings) == len(images)
        return embeddings

    def decode(
        self, segmenter: Segmenter, embeddings: Sequence[Embedding], asked: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """Call `decode`, and see that each image is answered."""
        masks = segmenter.decode(embeddings, asked, options)
        assert len(masks) == len(embeddings)
        return masks

    def some_prompts(self, segmenter: Segmenter, count: int = 4) -> list[Prompts]:
        """`count` prompts for each of `images`, of the segmenter's kinds in turn."""
        return [prompts(segmenter.prompt_kinds, image, count) for image in self.images]

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

    # ------------------------------------------------------------------------------------------------- encoding

    def test_is_a_segmenter(self, segmenter: Segmenter) -> None:
        assert isinstance(segmenter, Segmenter)

    def test_fingerprint_is_one_line_of_text_that_stays_the_same(self, segmenter: Segmenter) -> None:
        before = Fingerprint.of(segmenter.fingerprint)
        assert len(str(before).splitlines()) == 1
        self.encode(segmenter, self.images[:1])
        assert Fingerprint.of(segmenter.fingerprint) == before

    def test_other_encoder_weights_at_the_same_path_give_another_fingerprint(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        """Otherwise a cache answers with embeddings of the old weights, and nobody notices."""
        first, second = self._loaded(tmp_path / "weights", (0, 0), (1, 0))
        image = self.images[0]
        ours, theirs = (arrays(self.encode(model, [image])[0]) for model in (first, second))
        assert any(name not in theirs or not np.array_equal(array, theirs[name]) for name, array in ours.items()), (
            "load_weights gives encoders that embed alike; the two seeds must give other weights"
        )
        assert Fingerprint.of(first.fingerprint).encoder != Fingerprint.of(second.fingerprint).encoder

    def test_other_decoder_weights_at_the_same_path_give_another_decoder_fingerprint(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        """And leave the encoder's alone, in a segmenter that tells the two apart."""
        marks = [Fingerprint.of(model.fingerprint) for model in self._loaded(tmp_path / "weights", (0, 0), (0, 1))]
        assert marks[0].decoder != marks[1].decoder
        assert marks[0].encoder == marks[0].decoder or marks[0].encoder == marks[1].encoder

    def test_the_same_weights_give_the_same_fingerprint_wherever_they_lie(
        self, segmenter: Segmenter, tmp_path: Path
    ) -> None:
        """Otherwise a copy of the weights encodes every image again."""
        folders = [tmp_path / name for name in ("here", "there")]
        for folder in folders:
            folder.mkdir()
        here, there = (self._loaded(folder / "weights", (0, 0))[0] for folder in folders)
        assert Fingerprint.of(here.fingerprint) == Fingerprint.of(there.fingerprint)

    def test_prompt_kinds_are_known_ones(self, segmenter: Segmenter) -> None:
        assert isinstance(segmenter.prompt_kinds, frozenset)
        assert segmenter.prompt_kinds
        assert segmenter.prompt_kinds <= set(KINDS)

    def test_encoding_no_images_gives_no_embeddings(self, segmenter: Segmenter) -> None:
        assert list(self.encode(segmenter, [])) == []

    def test_encoding_gives_one_embedding_an_image_in_order(self, segmenter: Segmenter) -> None:
        images = self.images
        embeddings = self.encode(segmenter, images)
        assert all(isinstance(embedding, Embedding) for embedding in embeddings)
        assert [(e.width, e.height) for e in embeddings] == [(image.width, image.height) for image in images]
        assert {embedding.fingerprint for embedding in embeddings} == {Fingerprint.of(segmenter.fingerprint).encoder}

    def test_encoding_a_batch_equals_encoding_one_by_one(self, segmenter: Segmenter) -> None:
        for image, together in zip(self.images, self.encode(segmenter, self.images)):
            (alone,) = self.encode(segmenter, [image])
            assert_same_embedding(together, alone, self.tolerance)

    def test_encoding_is_deterministic(self, segmenter: Segmenter) -> None:
        image = self.images[0]
        first, second = self.encode(segmenter, [image])[0], self.encode(segmenter, [image])[0]
        assert_same_embedding(first, second, 0.0)

    def test_encoding_looks_at_the_pixels_and_nothing_else(self, segmenter: Segmenter) -> None:
        image = self.images[0]
        twin = Image(image.pixels, name="called otherwise")
        assert_same_embedding(self.encode(segmenter, [twin])[0], self.encode(segmenter, [image])[0], 0.0)

    def test_embeddings_of_different_images_differ(self, segmenter: Segmenter) -> None:
        image = self.images[0]
        inverted = Image(255 - image.pixels)
        ours, theirs = (arrays(embedding) for embedding in self.encode(segmenter, [image, inverted]))
        assert any(name not in theirs or not np.array_equal(array, theirs[name]) for name, array in ours.items())

    def test_embeddings_are_read_only_and_later_calls_leave_them_alone(self, segmenter: Segmenter) -> None:
        embeddings = self.encode(segmenter, self.images[:2])
        for embedding in embeddings:
            for name, tensor in embedding.tensors.items():
                assert not isinstance(tensor, np.ndarray) or not tensor.flags.writeable, name
        before = [arrays(embedding) for embedding in embeddings]
        self.encode(segmenter, self.images[::-1])
        self.decode(segmenter, embeddings, self.some_prompts(segmenter)[:2], DecodeOptions(multimask=True, logits=True))
        for embedding, old in zip(embeddings, before):
            for name, array in arrays(embedding).items():
                assert np.array_equal(array, old[name]), f"tensor {name!r} has changed"

    def test_embeddings_that_went_through_a_cache_give_the_same_masks(self, segmenter: Segmenter) -> None:
        """Rebuilt from name, dtype, shape and bytes."""
        embeddings, asked = self.embeddings(segmenter), self.some_prompts(segmenter)
        rebuilt = [through_a_cache(embedding) for embedding in embeddings]
        expected = self.decode(segmenter, embeddings, asked, DecodeOptions())
        for got, masks in zip(self.decode(segmenter, rebuilt, asked, DecodeOptions()), expected):
            assert_same_masks(got, masks, self.agreement, self.tolerance)

    def test_tensors_called_compressible_bear_half_precision(self, segmenter: Segmenter) -> None:
        embeddings, asked = self.embeddings(segmenter), self.some_prompts(segmenter)
        rounded = [through_a_cache(embedding, half=True) for embedding in embeddings]
        expected = self.decode(segmenter, embeddings, asked, DecodeOptions())
        got = self.decode(segmenter, rounded, asked, DecodeOptions())
        ious = np.concatenate([overlap(ours, theirs) for ours, theirs in zip(got, expected)])
        assert ious.mean() >= self.half_agreement

    # ------------------------------------------------------------------------------------------------- decoding

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

    def test_any_number_of_threads_may_call_it_at_once(self, segmenter: Segmenter) -> None:
        """Threads that all encode and decode different images get what one thread alone gets."""
        images, asked = self.images[:4], self.some_prompts(segmenter)[:4]
        options = DecodeOptions(multimask=True)

        def work(number: int) -> Masks:
            (embedding,) = segmenter.encode([images[number]])
            return segmenter.decode([embedding], [asked[number]], options)[0]

        expected = [work(number) for number in range(len(images))]
        together = threading.Barrier(self.threads)

        def race(start: int) -> list[Masks]:
            together.wait()
            return [work((start + step) % len(images)) for step in range(len(images))]

        with _frequent_switches(), ThreadPoolExecutor(self.threads) as pool:
            answers = list(pool.map(race, range(self.threads)))
        for start, masks in enumerate(answers):
            for step, got in enumerate(masks):
                assert_same_masks(got, expected[(start + step) % len(images)], self.agreement, self.tolerance)


@contextmanager
def _frequent_switches() -> Iterator[None]:
    """Threads take turns as often as they can, so that what they share unguarded shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


# ---------------------------------------------------------------- comparing, with a message that says where it differs


def arrays(embedding: Embedding) -> dict[str, NDArray[Any]]:
    """The embedding's tensors as NumPy arrays of their own; bfloat16 as float32."""
    return {name: _array(name, tensor) for name, tensor in embedding.tensors.items()}


def _array(name: str, tensor: Any) -> NDArray[Any]:
    if not is_torch(tensor):
        return np.array(tensor)
    bits, dtype = from_torch(name, tensor)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32) if dtype == "bfloat16" else np.array(bits)


def through_a_cache(embedding: Embedding, *, half: bool = False) -> Embedding:
    """`embedding` as a cache gives it back: rebuilt from bytes, perhaps in half precision."""
    return Entry.pack(embedding, "0" * 64, model="tested", precision="half" if half else "exact", cost=0.0).unpack()


def assert_same_embedding(got: Embedding, expected: Embedding, tolerance: float) -> None:
    """Same image, same fingerprint, same tensors; floats within `tolerance` of the largest value in the tensor."""
    assert (got.width, got.height) == (expected.width, expected.height)
    assert got.fingerprint == expected.fingerprint
    ours, theirs = arrays(got), arrays(expected)
    assert ours.keys() == theirs.keys()
    for name, array in ours.items():
        assert (array.dtype, array.shape) == (theirs[name].dtype, theirs[name].shape), name
        _assert_close(array, theirs[name], tolerance, f"tensor {name!r}")


def assert_same_masks(got: Masks, expected: Masks, agreement: float, tolerance: float) -> None:
    """As many masks, for the same prompts; each pair's IoU at least `agreement`, scores within `tolerance`."""
    assert (got.width, got.height) == (expected.width, expected.height)
    assert got.prompt_index.tolist() == expected.prompt_index.tolist()
    ious = overlap(got, expected)
    worst = int(ious.argmin()) if len(ious) else 0
    assert (ious >= agreement).all(), f"mask {worst} differs: IoU {ious[worst]:.4f}, expected {agreement}"
    _assert_close(got.scores, expected.scores, tolerance, "scores")


def overlap(first: Masks, second: Masks) -> NDArray[np.float64]:
    """IoU of each mask of `first` with the one at its place in `second`; 1 where both are empty. N float64."""
    ours, theirs = first.to_array(), second.to_array()
    shared = (ours & theirs).sum(axis=(1, 2))
    either = (ours | theirs).sum(axis=(1, 2))
    return np.where(either == 0, 1.0, shared / np.maximum(either, 1))


def _assert_close(got: NDArray[Any], expected: NDArray[Any], tolerance: float, what: str) -> None:
    if expected.dtype.kind != "f" or tolerance == 0:
        assert np.array_equal(got, expected, equal_nan=expected.dtype.kind == "f"), f"{what} differ"
        return
    limit = tolerance * max(1.0, float(np.abs(expected).max(initial=0)))
    worst = float(np.abs(got.astype(np.float64) - expected.astype(np.float64)).max(initial=0))
    assert worst <= limit, f"{what} differ by {worst:.3g}, expected at most {limit:.3g}"
