"""Collecting what chunks of prompts were answered with, and turning it into `Masks` in the order of the prompts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samovar.masks import Masks
from samovar.protocols import DecodeOptions
from samovar_plugins.sam.enlarge import Enlargement
from samovar_plugins.sam.outlines import Outlines, outline, stability

__all__ = ["Answers"]


class Answers:
    """One image's answers, chunk by chunk in any order. Logits are outlined at once and kept only if asked for.

    Args:
        enlargement: from logits to pixels of the image.
        options: how prompts are answered.
        limit: logits are kept between −limit and limit; masks are outlined before that.
    """

    def __init__(self, enlargement: Enlargement, options: DecodeOptions, limit: float | None = None) -> None:
        self.options = options
        self._limit = limit
        self._enlargement = enlargement
        self._outlines: list[Outlines] = []
        self._prompt: list[NDArray[np.int64]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._stability: list[NDArray[np.float32]] = []
        self._logits: list[NDArray[np.float32]] = []

    def add(self, index: NDArray[np.int64], logits: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """M masks for each of N prompts.

        Args:
            index: N, which prompts.
            logits: N×M×h×w.
            scores: N×M.
        """
        options = self.options
        flat = logits.reshape(-1, *logits.shape[2:])
        self._outlines.append(outline(flat, self._enlargement, options.mask_threshold))
        self._prompt.append(np.repeat(index, logits.shape[1]))
        self._scores.append(scores.reshape(-1))
        if options.stability_offset is not None:
            offset = options.stability_offset
            self._stability.append(stability(flat, self._enlargement, offset, options.mask_threshold))
        if options.logits:
            self._logits.append(flat if self._limit is None else flat.clip(-self._limit, self._limit))

    def masks(self, width: int, height: int) -> Masks:
        """All of them: in the order of the prompts, and each prompt's best-scored first."""
        if not self._outlines:
            return Masks.empty(width, height)
        counts = np.concatenate([outlines.counts for outlines in self._outlines])
        lengths = np.concatenate([np.diff(outlines.offsets) for outlines in self._outlines])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        prompt, scores = np.concatenate(self._prompt), np.concatenate(self._scores)
        masks = Masks.from_runs(counts, offsets, width, height).replace(
            scores=scores,
            prompt_index=prompt,
            stability=np.concatenate(self._stability) if self._stability else None,
            logits=np.concatenate(self._logits) if self._logits else None,
        )
        order = np.lexsort((-scores, prompt))
        return masks if (np.diff(order) == 1).all() else masks[order]
