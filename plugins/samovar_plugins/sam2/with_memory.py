"""`WithMemory`: a segmenter that brings a tracker of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from samovar.tracking import Tracker

if TYPE_CHECKING:
    from samovar.embedding import Embedding
    from samovar.image import Image
    from samovar.kinds import Kind
    from samovar.masks import Masks
    from samovar.prompts import Prompts
    from samovar.protocols import DecodeOptions, Segmenter

__all__ = ["WithMemory"]


class WithMemory:
    """A segmenter, and a tracker with the same weights; see `samovar.tracking.VideoSegmenter`."""

    def __init__(self, segmenter: Segmenter, tracker: Callable[[], Tracker]) -> None:
        self._segmenter, self._tracker = segmenter, tracker

    @property
    def fingerprint(self) -> str:
        """The segmenter's."""
        return self._segmenter.fingerprint

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """The segmenter's."""
        return self._segmenter.prompt_kinds

    @property
    def device(self) -> str:
        """The segmenter's."""
        return str(getattr(self._segmenter, "device", "cpu"))

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """The segmenter's."""
        return self._segmenter.encode(images)

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """The segmenter's."""
        return self._segmenter.decode(embeddings, prompts, options)

    def decode_bytes(self, width: int, height: int) -> int:
        """The segmenter's."""
        return self._segmenter.decode_bytes(width, height)

    def tracker(self) -> Tracker:
        """A new tracker. Its model is loaded each time."""
        return self._tracker()
