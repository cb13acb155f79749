"""Torch tensors in embeddings: rebuilt bit for bit, and never shared with whoever writes to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar import Embedding
from samovar.cache import Cache, DiskTier, Entry, MemoryTier
from samovar.cache.entry import dump, parse
from samovar.cache.tensors import PRECISIONS, Precision
from samovar.errors import CacheError
from tests.core.cache.support import PixelSegmenter, picture

torch = pytest.importorskip("torch")

DTYPES = ["float32", "float64", "float16", "bfloat16", "int8", "int64", "uint8", "bool", "complex64"]


def through_a_file(tensor: Any, precision: Precision = "exact") -> Any:
    soft = frozenset({"t"} if precision != "exact" else ())
    embedding = Embedding({"t": tensor}, 9, 9, "f", compressible=soft)
    entry = Entry.pack(embedding, "k", model="m", precision=precision, cost=1)
    stored = parse(b"".join(dump(entry)), "k")
    one, other = stored.unpack().tensors["t"], stored.dequantized().unpack().tensors["t"]
    assert torch.equal(one, other), "widening ahead of use changes nothing"
    return one


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 4, 5), (1,), (), (0, 3)])
def test_every_kind_of_tensor_comes_back_bit_for_bit(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 9).to(getattr(torch, dtype))
    back = through_a_file(tensor)
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    assert torch.equal(back, tensor)


def test_views_and_turned_tensors_come_back_as_they_look() -> None:
    tensor = torch.arange(24.0).reshape(4, 6)
    for view in (tensor.T, tensor[::2, 1:], tensor.expand(2, 4, 6), torch.complex(tensor, tensor).conj()):
        assert torch.equal(through_a_file(view), view)


def test_gradients_do_not_come_along() -> None:
    back = through_a_file(torch.ones(3, requires_grad=True) * 2)
    assert not back.requires_grad


def test_bfloat16_stays_bfloat16_in_half_precision() -> None:
    tensor = torch.randn(64, 64).to(torch.bfloat16)
    assert torch.equal(through_a_file(tensor, "half"), tensor)


@pytest.mark.parametrize("precision", PRECISIONS[1:])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_rounding_is_within_what_the_precision_allows(precision: Precision, dtype: str) -> None:
    tensor = torch.randn(64, 32, 32, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    back = through_a_file(tensor, precision)
    assert back.dtype == tensor.dtype
    allowed = {"half": 2**-10, "int8": 1 / 127}[precision] * tensor.abs().max().item()
    assert (back.float() - tensor.float()).abs().max().item() <= allowed


def test_sparse_tensors_are_refused() -> None:
    with pytest.raises(CacheError, match="sparse or quantised"):
        through_a_file(torch.eye(3).to_sparse())


class TorchSegmenter(PixelSegmenter):
    def encode(self, images: Any) -> list[Embedding]:
        return [
            Embedding(
                {name: torch.from_numpy(np.array(tensor)) for name, tensor in embedding.tensors.items()},
                embedding.width,
                embedding.height,
                embedding.fingerprint,
            )
            for embedding in super().encode(images)
        ]


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_writing_to_a_cached_tensor_hits_a_copy(tmp_path: Path, memory: int) -> None:
    tier = DiskTier(tmp_path, 1 << 20)
    cache, segmenter = Cache([MemoryTier(memory), tier], disk=tier, admission="always"), TorchSegmenter()
    for _ in range(3):
        embedding = cache.get_or_encode([picture(1)], segmenter).embeddings[0]
        assert segmenter.made(embedding, picture(1))
        embedding.tensors["code"].zero_()
        embedding.tensors["coarse"].numpy()[:] = 7
        assert segmenter.made(embedding, picture(1))
    assert segmenter.encoded == ["picture-1"]


def test_every_hit_gives_the_same_embedding_so_that_a_segmenter_can_remember_it(tmp_path: Path) -> None:
    cache, segmenter = Cache([MemoryTier(1 << 20)]), TorchSegmenter()
    cache.get_or_encode([picture(1)], segmenter)
    identities = {id(cache.get_or_encode([picture(1)], segmenter).embeddings[0]) for _ in range(3)}
    assert len(identities) == 1
