"""What the weights of a Hiera encoder leave open."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout"]


@dataclass(frozen=True)
class Layout:
    """Structure of a Hiera encoder (2023), as SAM 2 uses it.

    Attributes:
        stages: blocks in each of the stages; the first block of every stage but the first halves rows and columns.
        heads: of the first stage's attention; each stage doubles them.
        windows: side of the attention windows in each stage.
        everywhere: blocks, counted from 0, that attend to the whole map instead.
    """

    stages: tuple[int, ...]
    heads: int
    windows: tuple[int, ...]
    everywhere: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return sum(self.stages)
