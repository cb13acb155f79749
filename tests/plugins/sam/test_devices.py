"""What a GPU is asked to do. The first test needs none: torch's `meta` device goes the same way, with shapes only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from samovar import Image, Prompts
from samovar.protocols import DecodeOptions
from samovar_plugins.sam.plugin import Kind, build_sam
from samovar_plugins.sam2.decoder import build_sam2
from samovar_plugins.toolkit import SamComponents, SamSegmenter, StateDict
from samovar_plugins.toolkit.segmenter import CudaGraphEncoder
from tests.plugins.sam.models import FAMILIES, tiny_of
from tests.plugins.sam.weights import TINY, random_weights
from tests.plugins.sam2.weights import TINY as TINY2
from tests.plugins.sam2.weights import random_weights as random_weights2

without_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


class Waits(TorchDispatchMode):  # type: ignore[misc]
    """Notes operations for which a device and its host have to wait for each other."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, torch.Tensor)]
        crossing = len({tensor.device for tensor in tensors if tensor.ndim}) > 1
        # An index of another device is moved, a list of indices even where it does not show.
        if crossing or str(func) in ("aten.index.Tensor", "aten.nonzero.default", "aten._local_scalar_dense.default"):
            self.found.add(str(func))
        return out


def on_meta(family: Kind | str) -> SamComponents:
    with torch.inference_mode():
        if family == "sam2":
            return build_sam2(TINY2.layout, StateDict(random_weights2(), "meta", torch.bfloat16), TINY2.frame)
        return build_sam(family, StateDict(random_weights(family), "meta", torch.bfloat16), TINY.frame)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*FAMILIES, "sam2"])
def test_neither_network_makes_a_device_and_its_host_wait_for_each_other(family: str) -> None:
    parts = on_meta(family)
    count = 6 if family == "efficient-sam" else 3
    with torch.inference_mode(), Waits() as waits:
        found = parts.encoder(torch.empty(2, 3, 64, 64, device="meta", dtype=torch.bfloat16))
        shared = parts.decoder.share({name: tensor[0] for name, tensor in found.items()}, None, many_prompts=False)
        for multimask_output, best in ((False, False), (False, True), (True, True), (True, False)):
            tokens = torch.empty(5, count, 32, device="meta")
            answer = parts.decoder(shared, tokens, multimask_output=multimask_output, best_only=best)
            assert answer.logits.shape[0] == 5
    assert not waits.found


def test_waiting_is_noticed() -> None:
    with Waits() as waits:
        rows = torch.empty(3, 4, device="meta")
        rows[:, [0, 2]]
        rows + torch.zeros(4).to("meta")
    assert waits.found == {"aten.index.Tensor", "aten._to_copy.default"}


class Refusing:
    """An encoder that reads a result while it is recorded, which no graph can hold."""

    image_size = 64

    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"image": images * float(images.sum())}


def both(dtype: torch.dtype) -> tuple[SamSegmenter, SamSegmenter]:
    weights = random_weights("sam")
    return tiny_of("sam", weights, dtype=dtype), tiny_of("sam", weights, device="cuda", dtype=dtype)


@pytest.mark.gpu
@without_gpu
def test_answers_on_a_gpu_are_those_on_a_cpu(photo: Path) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    boxes = np.sort(np.random.default_rng(0).uniform(0, 400, (150, 2, 2)), axis=1).reshape(-1, 4)
    answers = []
    for segmenter in both(torch.float32):
        embeddings = segmenter.encode([Image(photo)])
        answers += segmenter.decode(embeddings, [Prompts.from_boxes(boxes)], DecodeOptions(logits=True))
    ours, expected = answers[1], answers[0]
    assert ours.logits is not None
    assert expected.logits is not None
    np.testing.assert_allclose(ours.logits, expected.logits, atol=1e-3)
    assert ours.prompt_index.tolist() == expected.prompt_index.tolist()


@pytest.mark.gpu
@without_gpu
def test_a_replayed_encoder_gives_each_thread_its_own_images_embedding() -> None:
    _, segmenter = both(torch.bfloat16)
    plain = segmenter.components.encoder
    frames = torch.randn(16, 1, 3, 64, 64, device="cuda", dtype=torch.bfloat16)
    replayed = CudaGraphEncoder(plain)
    with torch.inference_mode():
        expected = [plain(frame)["image"] for frame in frames]

    def call(frame: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(), torch.cuda.stream(torch.cuda.Stream()):
            found = replayed(frame)["image"]
            torch.cuda.current_stream().synchronize()
            return found

    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in zip(threads.map(call, frames), expected, strict=True):
            assert torch.equal(ours, theirs)
    assert not replayed._refused


@pytest.mark.gpu
@without_gpu
def test_an_encoder_that_cannot_be_recorded_runs_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    frames = torch.ones(1, 3, 64, 64, device="cuda")
    replayed = CudaGraphEncoder(Refusing())
    for _ in range(2):
        assert float(replayed(frames)["image"][0, 0, 0, 0]) == 3 * 64 * 64
    assert [record.levelname for record in caplog.records] == ["WARNING"]
