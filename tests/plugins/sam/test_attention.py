"""Folding projections onto the tokens and sharing the image's side change nothing but the cost."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samovar_plugins.toolkit import StateDict
from samovar_plugins.toolkit.attention import Attention, SharedProjections

HEADS, CHANNELS, INNER, POSITIONS = 4, 32, 16, 50


def layer(seed: int = 0) -> Attention:
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name in "qkv":
        weights[f"{name}_proj.weight"] = torch.randn(INNER, CHANNELS, generator=generator)
        weights[f"{name}_proj.bias"] = torch.randn(INNER, generator=generator)
    weights["out_proj.weight"] = torch.randn(CHANNELS, INNER, generator=generator)
    weights["out_proj.bias"] = torch.randn(CHANNELS, generator=generator)
    return Attention.of(StateDict(weights, dtype=torch.float64), HEADS)


def textbook(attention: Attention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Multi-head attention as SAM's paper and package define it."""

    def split(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:2], HEADS, INNER // HEADS).transpose(1, 2)

    q, k, v = split(attention.q(queries)), split(attention.k(keys)), split(attention.v(values))
    weights = torch.softmax(q @ k.transpose(2, 3) / (INNER // HEADS) ** 0.5, -1)
    return attention.out((weights @ v).transpose(1, 2).reshape(len(queries), -1, INNER))


def inputs(tokens: int, count: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    image, position = (torch.randn(count, POSITIONS, CHANNELS, generator=generator).double() for _ in range(2))
    asked, values = (torch.randn(count, tokens, CHANNELS, generator=generator).double() for _ in range(2))
    return image, image + position, asked, values


@pytest.mark.parametrize("tokens", [1, 2, 4, 5, 20])
def test_reading_the_image_is_the_textbook_attention(tokens: int) -> None:
    attention = layer()
    image, positioned, asked, _ = inputs(tokens)
    torch.testing.assert_close(
        attention.read(asked, positioned, image), textbook(attention, asked, positioned, image), rtol=1e-10, atol=1e-10
    )


@pytest.mark.parametrize("tokens", [1, 2, 4, 5, 20])
def test_writing_to_the_image_is_the_textbook_attention(tokens: int) -> None:
    attention = layer()
    image, positioned, asked, values = inputs(tokens)
    torch.testing.assert_close(
        attention.write(image, positioned, asked, values),
        image + textbook(attention, positioned, asked, values),
        rtol=1e-10,
        atol=1e-10,
    )


def test_few_tokens_are_folded_and_many_are_not() -> None:
    attention = layer()
    assert attention.folds(torch.zeros(1, INNER // HEADS, CHANNELS))
    assert not attention.folds(torch.zeros(1, INNER // HEADS + 1, CHANNELS))


@pytest.mark.parametrize("tokens", [2, 9])
def test_the_shared_side_serves_every_prompt_of_the_image(tokens: int) -> None:
    read, write = layer(1), layer(2)
    image, positioned, asked, values = inputs(tokens)
    one, placed = image[0], positioned[0]
    shared = SharedProjections(*read.share_read(placed, one), write.share_write(placed))
    same, same_placed = one.expand(3, -1, -1), placed.expand(3, -1, -1)
    torch.testing.assert_close(
        read.read_shared(asked, shared), textbook(read, asked, same_placed, same), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(
        write.write_shared(one, asked, values, shared),
        same + textbook(write, same_placed, asked, values),
        rtol=1e-10,
        atol=1e-10,
    )
