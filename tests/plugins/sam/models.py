"""Tiny models of each family, ready to use."""

from __future__ import annotations

from functools import cache

import torch

from samovar_plugins.sam.catalogue import Family
from samovar_plugins.sam.layers import State
from samovar_plugins.sam.networks import build
from samovar_plugins.sam.segmenter import SamSegmenter
from tests.plugins.sam.weights import TINY, Sizes, random_weights

__all__ = ["FAMILIES", "tiny"]

FAMILIES: tuple[Family, ...] = ("sam", "sam-hq", "mobile-sam", "sam-hq-tiny", "efficient-sam")


@cache
def tiny(family: Family, sizes: Sizes = TINY) -> SamSegmenter:
    """A segmenter of the family with random weights of the given sizes."""
    with torch.inference_mode():
        parts = build(family, State(random_weights(family, sizes)), sizes.frame)
    return SamSegmenter(parts, fingerprint=f"tiny {family}", device="cpu", dtype=torch.float32)
