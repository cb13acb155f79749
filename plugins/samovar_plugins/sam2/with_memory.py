"""`WithMemory`: a segmenter that brings a tracker of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from samovar.tracking import Tracker

if TYPE_CHECKING:
    from samovar.cache import Cache
    from samovar.embedding import Embedding
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions
    from samovar.types import Kind
    from samovar_plugins.sam.segmenter import SamSegmenter

__all__ = ["WithMemory"]


class WithMemory:
    """A segmenter, and a tracker with the same weights; see `samovar.tracking.VideoSegmenter`."""

    def __init__(self, segmenter: SamSegmenter, tracker: Callable[[Cache | None], Tracker]) -> None:
        self.segmenter, self._tracker = segmenter, tracker

    @property
    def fingerprint(self) -> str:
        """The segmenter's."""
        return self.segmenter.fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """The segmenter's."""
        return self.segmenter.prompt_kinds

    @property
    def device(self) -> str:
        """The segmenter's."""
        return self.segmenter.device

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """The segmenter's."""
        return self.segmenter.encode(images)

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """The segmenter's."""
        return self.segmenter.decode(embeddings, prompts, options)

    def decode_bytes(self, width: int, height: int) -> int:
        """The segmenter's."""
        return self.segmenter.decode_bytes(width, height)

    def tracker(self, cache: Cache | None = None) -> Tracker:
        """A new tracker. What its model has besides the encoder is loaded each time."""
        return self._tracker(cache)
