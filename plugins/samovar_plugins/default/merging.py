"""Merging leaves into trees, by several costs a border. The work is done in `agglomeration` and `border_costs`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .agglomeration import merge
from .border_costs import BORDER_FEATURES, SIZELESS, describe_all
from .leaves import Borders, Leaves
from .network import hidden_units

__all__ = ["PLAIN", "RECIPES", "Recipe", "describe_borders", "merge_leaves", "perimeters"]

_NO_NET = np.zeros(1, np.float32)
_NO_NET.setflags(write=False)  # as fitted ones are: numba compiles a kernel again for arrays that can be written to


@dataclass(frozen=True)
class Recipe:
    """A cost of merging across a border: the product of the factors that it names.

    Attributes:
        contrast: the hand-made difference in edge strength, histograms and texture.
        network: softplus of a network's log-odds, on "all" or "sizeless" features, or "none".
        outline: the mean probability that the border's leaf borders are outlines.
        size_power: (smaller area / whole) to this power, so that small regions go first.
        share_power: (1.2 − share of the smaller perimeter) to this power, so that inclusions go first.
    """

    contrast: bool
    network: Literal["none", "all", "sizeless"]
    outline: bool
    size_power: float
    share_power: float


PLAIN = Recipe(True, "none", False, 0.12, 1.0)
"""The cost that needs nothing fitted."""

RECIPES = (
    Recipe(True, "sizeless", False, 0.12, 2.0),
    Recipe(False, "all", False, 0.12, 1.0),
    Recipe(False, "sizeless", False, 0.06, 1.0),
    Recipe(True, "none", True, 0.12, 1.0),
    Recipe(True, "sizeless", False, 0.0, 1.0),
)
"""One tree each: unlike enough that together they hold most objects."""


def merge_leaves(
    leaves: Leaves,
    borders: Borders,
    recipe: Recipe,
    net: NDArray[np.float32] | None = None,
    outline: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """One merge tree over n leaves.

    Args:
        leaves, borders: the leaves and their neighbourhood, which must be connected.
        recipe: the cost.
        net: a network on BORDER_FEATURES, or on SIZELESS ones, whose output is the log-odds of an object's outline.
        outline: e float32, the probability that each leaf border is an object's outline; 0 if not given.

    Returns:
        (n−1)×2 int32, the two children of nodes n, n+1, … (below n they are leaves), and n−1 float32, the cost
        at which each was made, never below its children's.
    """
    likely = np.zeros(len(borders.length), np.float32) if outline is None else outline
    inputs = {"none": 0, "all": BORDER_FEATURES, "sizeless": len(SIZELESS)}[
        recipe.network if net is not None else "none"
    ]
    return merge(
        borders.first.copy(),
        borders.second.copy(),
        borders.length.copy(),
        np.concatenate([borders.strength, (likely * borders.length)[:, None]], axis=1),
        leaves.area.copy(),
        leaves.histogram.copy(),
        leaves.colour.copy(),
        leaves.box.copy(),
        perimeters(borders, len(leaves.area)),
        float(leaves.area.sum()),
        recipe.contrast,
        recipe.outline,
        _NO_NET if net is None else net,
        inputs,
        1 if net is None else hidden_units(len(net), inputs),
        recipe.size_power,
        recipe.share_power,
    )


def describe_borders(leaves: Leaves, borders: Borders) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """e×BORDER_FEATURES float32 features, and e float32 hand-made contrast that says nothing of size."""
    return describe_all(
        borders.first,
        borders.second,
        borders.length,
        borders.strength,
        leaves.area,
        leaves.histogram,
        leaves.colour,
        leaves.box,
        perimeters(borders, len(leaves.area)),
        float(leaves.area.sum()),
    )


def perimeters(borders: Borders, n: int) -> NDArray[np.float32]:
    """n float32: the length of each leaf's borders."""
    total = np.bincount(borders.first, weights=borders.length, minlength=n)
    total += np.bincount(borders.second, weights=borders.length, minlength=n)
    return total.astype(np.float32)
