"""`SegmenterTests`: the contract of a segmenter, for pytest."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar

from samovar.masks import Masks
from samovar.protocols import DecodeOptions, Segmenter
from samovar.testing.compare import assert_same_masks
from samovar.testing.decoding import DecodingTests

__all__ = ["SegmenterTests"]


class SegmenterTests(DecodingTests):
    """Subclass it beside a fixture `segmenter`; with `scope="module"` the model is loaded once for all tests.

    Every subclass overrides `load_weights`, by which the suite sees that other weights have another fingerprint.

    Class attributes that a subclass may set, saying why:
        sizes: width and height of the made-up pictures.
        counts: how many prompts each of them gets in ragged batches.
        tolerance: by how much floats (tensors, scores) may differ between a batch and one by one, relative to the
            largest of them. 0, exactly the same, unless the arithmetic depends on the size of the batch.
        agreement: the IoU that masks must reach then. 1.
        half_agreement: the mean IoU of masks from embeddings kept in half precision with those from exact ones.
        threads: how many threads call it at once.
    """

    threads: ClassVar[int] = 4

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
