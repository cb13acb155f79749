"""What `Segmenter.encode` promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from samovar.embedding import Embedding
from samovar.fingerprint import Fingerprint
from samovar.image import Image
from samovar.masks import Masks
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions, Segmenter
from samovar.testing.compare import arrays, assert_same_embedding, assert_same_masks, overlap, through_a_cache
from samovar.testing.scenes import SIZES, prompts, scenes
from samovar.types import KINDS

__all__ = ["EncodingTests"]


class EncodingTests:
    """Part of `SegmenterTests`."""

    sizes: ClassVar[Sequence[tuple[int, int]]] = SIZES
    tolerance: ClassVar[float] = 0.0
    agreement: ClassVar[float] = 1.0
    half_agreement: ClassVar[float] = 0.95

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
        """Made-up pictures of the sizes in `sizes`."""
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
        """Rebuilt from name, dtype, shape and bytes, and without the tensors that are said to be derived."""
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
