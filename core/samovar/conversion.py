"""Prompt conversion: prompts of a kind that a segmenter does not take become prompts that it does.

Explicit, never silent: it happens only through the prompt sources that the caller has named as converters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.errors import UnsupportedPromptError
from samovar.image import Image
from samovar.plugins import list_prompt_sources, list_segmenters
from samovar.prompts import Prompts
from samovar.protocols import PromptSource
from samovar.types import KINDS, Kind

__all__ = ["Converted", "convert_prompts"]


class Converted(NamedTuple):
    """Prompts that the segmenter takes, and for each the index of the caller's prompt that it came from."""

    prompts: Prompts
    origin: NDArray[np.int64]


def convert_prompts(
    image: Image, prompts: Prompts, takes: frozenset[Kind], converters: Sequence[PromptSource], *, model: str
) -> Converted:
    """`prompts` as a segmenter that `takes` these kinds can answer them.

    Args:
        converters: asked in order; each for the prompts that are still of a kind that the segmenter lacks.
        model: what an error calls the segmenter.

    Raises:
        UnsupportedPromptError: no converter answers for a kind that the segmenter lacks; names what would.
    """
    lacking = prompts.kinds - takes
    if not lacking:
        return Converted(prompts, np.arange(len(prompts)))
    rows = [prompts[i : i + 1] for i in range(len(prompts))]
    for source in converters:
        wanted = [i for i, row in enumerate(rows) if row.kinds & lacking]
        if not wanted:
            break
        for i, answer in zip(wanted, source.prompts([image] * len(wanted), [rows[i] for i in wanted])):
            rows[i] = answer
    left = frozenset().union(*(row.kinds for row in rows)) - takes
    if left:
        raise UnsupportedPromptError(_unsupported(left, takes, model))
    origin = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return Converted(Prompts.concat(rows), origin)


def _unsupported(kinds: frozenset[Kind], takes: frozenset[Kind], model: str) -> str:
    kind = next(kind for kind in KINDS if kind in kinds)
    listed = ", ".join(kind for kind in KINDS if kind in takes)
    ways = [f"convert it with the source {spec.name!r}" for spec in list_prompt_sources() if kind in spec.converts]
    ways += [f"use model {spec.name!r}" for spec in list_segmenters() if kind in spec.prompts]
    way_out = " or ".join(ways[:3]) or f"install a plugin whose source converts {kind} prompts"
    return f"model {model!r} takes {listed}; got a {kind} prompt; {way_out}"
