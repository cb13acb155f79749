"""The segmenter suite with one whose embeddings are torch tensors, some of them bfloat16."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from samovar import Embedding, Image, Prompt, Segmenter
from samovar.testing import SegmenterTests
from tests.core.testing.reference import Plane, Reference, ReferenceTests
from tests.core.testing.suites import failures

torch = pytest.importorskip("torch")


class TorchReference(Reference):
    """Keeps its pixels as torch tensors; every value of a byte is exact in bfloat16."""

    dtype: Any = torch.bfloat16

    def embedding(self, image: Image) -> Embedding:
        made = super().embedding(image)
        pixels = torch.from_numpy(made.tensors["pixels"].copy()).to(self.dtype)
        return replace(made, tensors={"pixels": pixels, "grey": pixels.mean(2)})

    def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
        pixels = embedding.tensors["pixels"].float().numpy()
        return super().readings(replace(embedding, tensors={"pixels": pixels}, compressible=frozenset()), prompt)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def segmenter(request: pytest.FixtureRequest) -> Segmenter:
    made = TorchReference()
    made.dtype = getattr(torch, request.param)
    return made


class TestTorchReference(ReferenceTests):
    pass


def test_a_torch_segmenter_that_writes_to_its_own_tensors_is_found_out() -> None:
    class Writing(TorchReference):
        def readings(self, embedding: Embedding, prompt: Prompt) -> list[tuple[Plane, float]]:
            embedding.tensors["pixels"][0, 0] += 1
            return super().readings(embedding, prompt)

    check = "test_embeddings_are_read_only_and_later_calls_leave_them_alone"
    assert failures(SegmenterTests, only=check, segmenter=Writing())
