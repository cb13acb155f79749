"""Lowering: prompts of a kind that the segmenter does not take become prompts that it does. Explicit, never silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from samovar.errors import UnsupportedPromptError
from samovar.plugins import list_prompt_sources, list_segmenters
from samovar.prompts import KINDS, Kind, Prompts

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.runtime import Runtime

__all__ = ["Lowered", "lower"]


class Lowered(NamedTuple):
    """Prompts that the segmenter takes, and for each the index of the caller's prompt that it came from."""

    prompts: Prompts
    origin: NDArray[np.int64]


def lower(runtime: Runtime, image: Image, prompts: Prompts) -> Lowered:
    """`prompts` as the runtime's segmenter takes them.

    Raises:
        UnsupportedPromptError: it lacks a kind and the runtime has no source that lowers it; names what would.
    """
    lacking = prompts.kinds - runtime.segmenter.prompt_kinds
    if not lacking:
        return Lowered(prompts, np.arange(len(prompts)))
    rows = [prompts[i : i + 1] for i in range(len(prompts))]
    for source in runtime.lowering:
        wanted = [i for i, row in enumerate(rows) if row.kinds & lacking]
        if not wanted:
            break
        for i, answer in zip(wanted, source.prompts([image] * len(wanted), [rows[i] for i in wanted])):
            rows[i] = answer
    left = frozenset().union(*(row.kinds for row in rows)) - runtime.segmenter.prompt_kinds
    if left:
        raise UnsupportedPromptError(_unsupported(runtime, left))
    origin = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    return Lowered(Prompts.concat(rows), origin)


def _unsupported(runtime: Runtime, kinds: frozenset[Kind]) -> str:
    kind = next(kind for kind in KINDS if kind in kinds)
    takes = ", ".join(kind for kind in KINDS if kind in runtime.segmenter.prompt_kinds)
    ways = [f"lower it with the source {spec.name!r}" for spec in list_prompt_sources() if kind in spec.lowers]
    ways += [f"use model {spec.name!r}" for spec in list_segmenters() if kind in spec.prompts]
    mend = " or ".join(ways[:3]) or f"install a plugin whose source lowers {kind} prompts"
    return f"model {runtime.name!r} takes {takes}; got a {kind} prompt; {mend}"
