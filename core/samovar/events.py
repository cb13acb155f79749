"""What event hooks are told: small frozen records, one an event, never one a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from samovar.fingerprint import Fingerprint

__all__ = ["EvictEvent", "SegmentEvent"]


@dataclass(frozen=True)
class SegmentEvent:
    """One call of the runtime has answered its prompts.

    Attributes:
        model: the name the segmenter was loaded under.
        fingerprint: of the segmenter, both parts; its `str()` is one line.
        images: how many images the call was given.
        prompts: how many prompts, over all images.
        masks: how many masks came back.
        encoded: how many embeddings were computed; the others came from a cache.
        encode_seconds: wall time spent encoding.
        decode_seconds: wall time spent decoding.
    """

    model: str
    fingerprint: Fingerprint
    images: int
    prompts: int
    masks: int
    encoded: int
    encode_seconds: float
    decode_seconds: float

    @property
    def cached(self) -> int:
        """How many images needed no encoding."""
        return self.images - self.encoded


@dataclass(frozen=True)
class EvictEvent:
    """One entry has left one tier of the cache.

    Attributes:
        tier: the name of the tier.
        key: of the entry.
        nbytes: that the entry took up, in bytes.
        reason: why, in a word or two, such as "budget", "corrupt" or "cleared".
    """

    tier: str
    key: str
    nbytes: int
    reason: str
