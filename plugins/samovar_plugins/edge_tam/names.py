"""Hugging Face's names for the tensors of EdgeTAM, as the names that Meta's checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from samovar_plugins.sam2.names import canonical as canonical_sam2

__all__ = ["canonical"]

T = TypeVar("T")


def canonical(tensors: Mapping[str, T]) -> dict[str, T]:
    """The same tensors under Meta's names; tensors that already have them, or that belong to neither, keep theirs."""
    return {
        name.replace("image_encoder.trunk.timm_model.", "image_encoder.trunk.body."): tensor
        for name, tensor in canonical_sam2(tensors).items()
    }
