"""Products by oneDNN, and a whole map's attention made of them, give what their definitions say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from samovar.testing.scenes import scene
from samovar_plugins.sam import vit
from samovar_plugins.sam.vit import attend_whole_map
from samovar_plugins.toolkit import Linear, PackedLinear
from tests.plugins.sam.models import tiny


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (7, 48), (2, 5, 6, 48), (4100, 48)])
def test_a_product_is_the_linear_layer(shape: tuple[int, ...], bias: bool) -> None:
    layer = Linear(noise(32, 48), noise(32, seed=1) if bias else None)
    x = noise(*shape, seed=2)
    exact = functional.linear(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
    torch.testing.assert_close(PackedLinear(layer)(x).double(), exact, atol=1e-5, rtol=1e-5)


def test_rows_that_are_not_contiguous_are_taken() -> None:
    layer, x = Linear(noise(32, 48), None), noise(48, 9).t()
    torch.testing.assert_close(PackedLinear(layer)(x), layer(x.contiguous()), atol=1e-5, rtol=1e-5)


def test_other_dtypes_are_left_to_torch() -> None:
    layer, x = Linear(noise(32, 48).bfloat16(), None), noise(9, 48).bfloat16()
    assert torch.equal(PackedLinear(layer)(x), layer(x))


@pytest.mark.parametrize("scores", [1, 4 * 5**3 * 2, 4 << 20])
def test_a_whole_map_attends_as_defined(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vit, "WHOLE_SCORES", scores)
    side, channels = 5, 8
    q, k, v = (noise(side * side, channels, seed=seed) for seed in range(3))
    rows, columns = noise(side, side, channels, seed=3), noise(side, side, channels, seed=4)
    found = attend_whole_map(q, k, v, rows, columns)
    for query in range(side * side):
        y, x = divmod(query, side)
        place = [float(q[query] @ rows[y, key // side] + q[query] @ columns[x, key % side]) for key in range(side**2)]
        weights = torch.softmax(k @ q[query] / channels**0.5 + torch.tensor(place), 0)
        torch.testing.assert_close(found[query], weights @ v, atol=1e-5, rtol=1e-5)


def test_the_encoder_gives_the_same_by_either_kind_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    model, image = tiny("sam"), scene(64, 48)
    fused = model.encode([image])[0].tensors["image"]
    monkeypatch.setattr(vit, "WHOLE", 1)
    plain = model.encode([image])[0].tensors["image"]
    np.testing.assert_allclose(plain, fused, atol=1e-5, rtol=1e-5)
