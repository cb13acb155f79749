"""What `encode` keeps: little, complete, and the same every time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from samovar import Image
from samovar.embedding import Embedding
from samovar.prompts import Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.default.segmenter import DefaultSegmenter


def busy(width: int, height: int, seed: int = 0) -> Image:
    """A picture full of small random patches: as many regions as there can be."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-height // 4), -(-width // 4), 3), dtype=np.uint8)
    return Image(np.ascontiguousarray(small.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]))


def rebuilt(embedding: Embedding) -> Embedding:
    """The embedding made again from each tensor's name, dtype, shape and bytes alone."""
    tensors = {
        name: np.frombuffer(tensor.tobytes(), tensor.dtype).reshape(tensor.shape)
        for name, tensor in embedding.tensors.items()
    }
    return Embedding(tensors, embedding.width, embedding.height, embedding.fingerprint)


def test_it_stays_under_two_megabytes_even_where_everything_is_a_region(segmenter: DefaultSegmenter) -> None:
    (embedding,) = segmenter.encode([busy(640, 480)])
    assert embedding.nbytes < 2_000_000


@pytest.mark.slow
def test_a_picture_of_twelve_megapixels_takes_no_more_than_a_small_one(segmenter: DefaultSegmenter) -> None:
    (embedding,) = segmenter.encode([busy(4000, 3000)])
    assert embedding.nbytes < 2_000_000


def test_encoding_twice_gives_the_same_bytes(segmenter: DefaultSegmenter) -> None:
    first, second = segmenter.encode([busy(160, 120), busy(160, 120)])
    assert first.tensors.keys() == second.tensors.keys()
    for name, tensor in first.tensors.items():
        assert tensor.tobytes() == second.tensors[name].tobytes(), name


@pytest.mark.slow
def test_threads_encode_what_one_thread_does(segmenter: DefaultSegmenter) -> None:
    images = [busy(120, 90, seed) for seed in range(6)]
    alone = segmenter.encode(images)
    with ThreadPoolExecutor(3) as proposal_tensors:
        together = list(proposal_tensors.map(lambda image: segmenter.encode([image])[0], images))
    for one, other in zip(alone, together):
        assert all(one.tensors[name].tobytes() == other.tensors[name].tobytes() for name in one.tensors)


def test_bytes_are_enough_to_decode_from(segmenter: DefaultSegmenter) -> None:
    (embedding,) = segmenter.encode([busy(200, 150)])
    prompts = Prompts.from_boxes([[20, 20, 150, 120], [5, 5, 60, 60]])
    options = DecodeOptions(multimask=True, logits=True)
    direct, again = (segmenter.decode([one], [prompts], options)[0] for one in (embedding, rebuilt(embedding)))
    assert np.array_equal(direct.to_array(), again.to_array())
    assert np.array_equal(direct.scores, again.scores)
    assert direct.logits is not None
    assert again.logits is not None
    assert np.array_equal(direct.logits, again.logits)
