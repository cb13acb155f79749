"""The segmenter suite passes one that keeps every promise, and fails each mutant that breaks one."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar import DecodeOptions, Embedding, Image, Masks, Prompt, Prompts, Segmenter
from samovar.errors import InputError
from samovar.fingerprint import Fingerprint, fingerprint_arrays
from samovar.testing import SegmenterTests
from samovar.types import Kind
from tests.core.testing.reference import Plane, Reference, ReferenceTests, Weighted
from tests.core.testing.suites import checks, failures


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Reference()


class TestReference(ReferenceTests):
    pass


class TestWeighted(ReferenceTests):
    model = Weighted

    @pytest.fixture
    def segmenter(self, tmp_path: Path) -> Segmenter:
        made = self.load_weights(tmp_path / "own", encoder=2, decoder=3)
        assert made is not None
        return made


class Mutant(Reference):
    """One promise broken in each subclass."""

    breaks: str


class ChangingFingerprint(Mutant):
    breaks = "test_fingerprint_is_one_line_of_text_that_stays_the_same"
    counter = itertools.count()

    @property
    def fingerprint(self) -> str:  # type: ignore[override]
        return f"reference {next(self.counter)}"


class ForgottenWeights(Weighted):
    """One promise about weights broken in each subclass."""

    breaks: str


class FingerprintsThePath(ForgottenWeights):
    """The stale cache: other weights at the same path, and the old embeddings."""

    breaks = "test_other_encoder_weights_at_the_same_path_give_another_fingerprint"

    @property
    def fingerprint(self) -> Fingerprint:  # type: ignore[override]
        return Fingerprint.of(f"weighted-{self.path}")


class FingerprintsTheEncoderAlone(ForgottenWeights):
    breaks = "test_other_decoder_weights_at_the_same_path_give_another_decoder_fingerprint"

    @property
    def fingerprint(self) -> Fingerprint:  # type: ignore[override]
        return Fingerprint.of(fingerprint_arrays({"gain": self.gain}))


class MixesTheParts(ForgottenWeights):
    breaks = "test_other_decoder_weights_at_the_same_path_give_another_decoder_fingerprint"

    @property
    def fingerprint(self) -> Fingerprint:  # type: ignore[override]
        every = fingerprint_arrays({"gain": self.gain, "shift": self.shift})
        return Fingerprint(f"encoder {every}", f"decoder {every}")


class FingerprintsPathAndWeights(ForgottenWeights):
    breaks = "test_the_same_weights_give_the_same_fingerprint_wherever_they_lie"

    @property
    def fingerprint(self) -> Fingerprint:  # type: ignore[override]
        return Fingerprint(f"{self.path} {super().fingerprint.encoder}", super().fingerprint.decoder)


class UnknownKind(Mutant):
    breaks = "test_prompt_kinds_are_known_ones"
    prompt_kinds = frozenset({"points", "scribble"})  # type: ignore[arg-type]


class EncodesBackwards(Mutant):
    breaks = "test_encoding_gives_one_embedding_an_image_in_order"

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        return super().encode(images[::-1])


class NormalisesOverTheBatch(Mutant):
    breaks = "test_encoding_a_batch_equals_encoding_one_by_one"

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        embeddings = super().encode(images)
        brightest = max((e.tensors["pixels"].max() for e in embeddings), default=0)
        return [
            replace(e, tensors={"pixels": e.tensors["pixels"] / brightest, "grey": e.tensors["grey"]})
            for e in embeddings
        ]


class RandomEmbeddings(Mutant):
    breaks = "test_encoding_is_deterministic"

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        noisy = made.tensors["pixels"] + np.random.default_rng().normal(size=made.tensors["pixels"].shape)
        return replace(made, tensors={**made.tensors, "pixels": noisy})


class EncodesTheName(Mutant):
    breaks = "test_encoding_looks_at_the_pixels_and_nothing_else"

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        return replace(made, tensors={**made.tensors, "name": np.frombuffer(image.name.encode(), np.uint8)})


class IgnoresThePixels(Mutant):
    breaks = "test_embeddings_of_different_images_differ"

    def embedding(self, image: Image) -> Embedding:
        return super().embedding(Image(np.zeros_like(image.pixels)))


class ReusesItsBuffer(Mutant):
    breaks = "test_embeddings_are_read_only_and_later_calls_leave_them_alone"

    def __init__(self) -> None:
        self.buffer = np.zeros((64, 64, 3), np.float32)

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        self.buffer[: image.height, : image.width] = image.pixels
        view = self.buffer[: image.height, : image.width]
        return replace(made, tensors={**made.tensors, "pixels": view})


class LeavesTensorsWritable(Mutant):
    breaks = "test_embeddings_are_read_only_and_later_calls_leave_them_alone"

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        made.tensors["grey"].setflags(write=True)
        return made


class KnowsItsEmbeddingsById(Mutant):
    breaks = "test_embeddings_that_went_through_a_cache_give_the_same_masks"

    def __init__(self) -> None:
        self.known: dict[int, Embedding] = {}

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        self.known[id(made)] = made
        return made

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return masks if id(embedding) in self.known else masks.replace(scores=masks.scores / 2)


class CompressesWhatBearsNoRounding(Mutant):
    breaks = "test_tensors_called_compressible_bear_half_precision"

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        return replace(made, tensors={**made.tensors, "pixels": made.tensors["pixels"] * np.float32(1e-10)})

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        pixels = embedding.tensors["pixels"] * np.float32(1e10)
        larger = replace(embedding, tensors={"pixels": pixels}, compressible=frozenset())
        return super().readings(larger, prompt)


class NothingForNoPrompts(Mutant):
    breaks = "test_no_prompts_give_no_masks_of_the_right_size"

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        return [masks for masks in super().decode(embeddings, prompts, options) if len(masks)]


class TransposedMasks(Mutant):
    breaks = "test_masks_have_the_size_of_their_image"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return Masks.from_array(masks.to_array().transpose(0, 2, 1)).replace(
            scores=masks.scores, prompt_index=masks.prompt_index, stability=masks.stability
        )


class AllIndicesZero(Mutant):
    breaks = "test_without_multimask_each_prompt_gets_one_mask_in_order"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return masks.replace(prompt_index=np.zeros(len(masks), np.int64))


class AlwaysThree(Mutant):
    breaks = "test_without_multimask_each_prompt_gets_one_mask_in_order"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        return super().answer(embedding, prompts, replace(options, multimask=True))


class WorstFirst(Mutant):
    breaks = "test_with_multimask_each_prompt_gets_up_to_three_masks_best_first"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        return super().readings(embedding, prompt)[::-1]


class ForgetsAPrompt(Mutant):
    breaks = "test_with_multimask_each_prompt_gets_up_to_three_masks_best_first"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return masks[masks.prompt_index != 1]


class ScoresInPercent(Mutant):
    breaks = "test_scores_are_finite_and_between_0_and_1"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        return [(plane, 100 * score) for plane, score in super().readings(embedding, prompt)]


class ScoresOverTheBatch(Mutant):
    breaks = "test_decoding_ragged_batches_equals_decoding_one_by_one"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return masks.replace(scores=masks.scores / (1 + len(prompts)))


class OneEmbeddingForAll(Mutant):
    """The predictor that is told its image first, and forgets which."""

    breaks = "test_decoding_ragged_batches_equals_decoding_one_by_one"

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        sizes = {(e.width, e.height): e for e in embeddings}
        blurred = {size: replace(e, tensors={**e.tensors, "pixels": e.tensors["pixels"] / len(embeddings)})
                   for size, e in sizes.items()}  # fmt: skip
        return super().decode([blurred[e.width, e.height] for e in embeddings], prompts, options)


class KeyedByPlaceInTheBatch(Mutant):
    breaks = "test_the_same_image_may_come_twice_in_a_batch"

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        asked = dict(zip(map(id, embeddings), prompts))
        return [self.answer(embedding, asked[id(embedding)], options) for embedding in embeddings]


class LearnsFromThePromptBefore(Mutant):
    breaks = "test_the_order_of_the_prompts_does_not_matter"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        masks = super().answer(embedding, prompts, options)
        return masks.replace(scores=np.minimum.accumulate(masks.scores) / (1 + np.arange(len(masks))))


class RandomMasks(Mutant):
    breaks = "test_decoding_is_deterministic"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        random = np.random.default_rng()
        return [
            (plane + random.normal(0, 5, plane.shape).astype(np.float32), score)
            for plane, score in super().readings(embedding, prompt)
        ]


class TakesAnyEmbedding(Mutant):
    breaks = "test_an_embedding_of_another_segmenter_is_refused"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        return super().answer(replace(embedding, fingerprint=self.made_by), prompts, options)


class ClaimsTextInVain(Mutant):
    breaks = "test_every_kind_that_it_names_is_taken_alone"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        if prompt.kinds == {"text"}:
            raise InputError("no text")
        return super().readings(embedding, prompt)


class OneKindAtATime(Mutant):
    breaks = "test_all_kinds_that_it_names_are_taken_in_one_prompt"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        (_,) = prompt.kinds
        return super().readings(embedding, prompt)


class FallsOffTheEdge(Mutant):
    breaks = "test_points_on_the_border_and_boxes_beyond_it_are_taken"

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        if prompt.points is not None:
            for x, y in prompt.points:
                embedding.tensors["pixels"][int(y), int(x)]
        return super().readings(embedding, prompt)


class KeepsLogitsUnasked(Mutant):
    breaks = "test_logits_are_kept_when_asked_for_and_left_out_otherwise"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        return super().answer(embedding, prompts, replace(options, logits=True))


class CannotRefine(Mutant):
    breaks = "test_an_answer_can_be_asked_about_again"

    def marked(self, pixels: Plane, prompt: Prompt) -> Any:
        if prompt.mask is not None and not isinstance(prompt.mask, Masks):
            raise InputError("no logits")
        return super().marked(pixels, prompt)


class NoStability(Mutant):
    breaks = "test_stability_is_filled_when_asked_for"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        return super().answer(embedding, prompts, replace(options, stability_offset=None))


class ThresholdUpsideDown(Mutant):
    breaks = "test_a_higher_threshold_never_makes_masks_larger"

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        return super().answer(embedding, prompts, replace(options, mask_threshold=-options.mask_threshold))


class NeedsNothing(Mutant):
    breaks = "test_decode_bytes_is_a_positive_whole_number_that_grows_with_the_image"

    def decode_bytes(self, width: int, height: int) -> int:
        return 0


class RemembersItsImage(Mutant):
    """`set_image` in disguise: right for one thread, another image's mask for two."""

    breaks = "test_any_number_of_threads_may_call_it_at_once"
    current: Embedding

    def answer(self, embedding: Embedding, prompts: Prompts, options: DecodeOptions) -> Masks:
        self.current = embedding
        time.sleep(0.002)
        return super().answer(self.current, prompts, options)


class OnlyBoxes(Reference):
    """Not a mutant: a segmenter may take less."""

    prompt_kinds: frozenset[Kind] = frozenset({"box"})


MUTANTS = Mutant.__subclasses__()
FORGOTTEN = ForgottenWeights.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_segmenter_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: Callable[[], Mutant]) -> None:
    segmenter = mutant()
    assert failures(SegmenterTests, only=segmenter.breaks, segmenter=segmenter)


@pytest.mark.parametrize("mutant", FORGOTTEN, ids=lambda mutant: mutant.__name__)
def test_a_segmenter_that_forgets_its_weights_fails_the_check_of_that(mutant: type[ForgottenWeights]) -> None:
    class Suite(ReferenceTests):
        model = mutant

    failed = failures(Suite, only=mutant.breaks, segmenter=Reference())
    assert isinstance(failed[mutant.breaks], AssertionError)


def test_weights_that_change_nothing_are_no_proof() -> None:
    class Deaf(Weighted):
        def embedding(self, image: Image) -> Embedding:
            return replace(Reference().embedding(image), fingerprint=self.made_by)

    class Suite(ReferenceTests):
        model = Deaf

    assert "embed alike" in str(failures(Suite, segmenter=Reference())[FingerprintsThePath.breaks])


def test_a_suite_that_says_nothing_of_weights_fails_and_says_what_to_do() -> None:
    failed = failures(SegmenterTests, segmenter=Reference())
    assert set(failed) == {mutant.breaks for mutant in FORGOTTEN}
    assert "must override load_weights" in str(failed[FingerprintsThePath.breaks])


def test_every_check_is_failed_by_some_mutant() -> None:
    """A check that nothing can fail checks nothing."""
    trivial = {
        "test_is_a_segmenter",
        "test_encoding_no_images_gives_no_embeddings",
        "test_decoding_no_images_gives_no_masks",
    }
    broken = {mutant.breaks for mutant in MUTANTS} | {mutant.breaks for mutant in FORGOTTEN}
    assert broken == checks(SegmenterTests) - trivial


@pytest.mark.parametrize("segmenter", [Reference(), OnlyBoxes()], ids=["all kinds", "boxes only"])
def test_a_segmenter_that_keeps_its_promises_fails_nothing(segmenter: Segmenter) -> None:
    assert failures(ReferenceTests, segmenter=segmenter) == {}


@pytest.mark.slow
def test_the_suite_fails_under_pytest_as_well_and_shows_values(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "from samovar.testing import SegmenterTests\n"
        "from tests.core.testing.test_segmenter_suite import ScoresInPercent\n"
        "@pytest.fixture\n"
        "def segmenter():\n"
        "    return ScoresInPercent()\n"
        "class TestMine(SegmenterTests):\n"
        "    pass\n"
    )
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{root}:{root / 'core'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "test_scores_are_finite_and_between_0_and_1" in done.stdout
    assert "where" in done.stdout
