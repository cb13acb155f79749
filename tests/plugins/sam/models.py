"""Tiny models of each family, ready to use."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from samovar_plugins.sam.plugin import Kind, build_sam
from samovar_plugins.toolkit import SamSegmenter, assemble
from tests.plugins.sam.weights import TINY, Sizes, random_weights

__all__ = ["FAMILIES", "tiny", "tiny_of"]

FAMILIES: tuple[Kind, ...] = ("sam", "sam-hq", "mobile-sam", "sam-hq-tiny", "efficient-sam")


@cache
def tiny(kind: Kind, sizes: Sizes = TINY) -> SamSegmenter:
    """A segmenter of that kind with random weights of the given sizes."""
    return tiny_of(kind, random_weights(kind, sizes), sizes.frame)


def tiny_of(kind: Kind, weights: dict[str, Tensor], image_size: int = TINY.frame, **options: Any) -> SamSegmenter:
    """A segmenter of weights; `options` are those of `assemble`."""
    made = assemble(kind, lambda given: build_sam(kind, given.state, image_size), weights, **options)
    assert isinstance(made, SamSegmenter)
    return made
