"""`Frame`, and what every reader of frames gives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from samovar.errors import InputError, SamovarError
from samovar.image import Image

__all__ = ["Frame", "FrameReader", "check_reached"]


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: from 0, counting the frames that could be read.
        time: seconds from the video's own zero, exactly as it has it; frames need not be evenly spaced.
        image: upright, whatever the camera's orientation was.
    """

    number: int
    time: Fraction
    image: Image


class FrameReader(Protocol):
    """Reads frames one after another, once.

    Attributes:
        name: what messages call it.
        rate: frames a second, on average.
        length: how many frames there are, as the video says; None if it does not say.
        problems: what could not be read so far, a line each.
    """

    name: str
    rate: Fraction
    length: int | None
    problems: list[SamovarError]

    def __iter__(self) -> Iterator[Frame]:
        """The frames, in the order in which they are shown."""

    def backwards(self, number: int) -> Iterator[Frame]:
        """Frame `number` and those before it, last first, instead of `__iter__`. A few of them are in memory at a time.

        Raises InputError if there is no such frame, or if the frames can only be read onwards.
        """

    def sound_template(self) -> Any | None:
        """The stream of sound that `take_sound` gives packets of; None where there is none."""

    def take_sound(self) -> list[Any]:
        """The packets of sound read since the last call."""

    def close(self) -> None:
        """Let go of the file or camera. Idempotent."""


def check_reached(name: str, number: int, count: int) -> None:
    """Raises InputError if frame `number` is not among the first `count`, which are all that were found up to it."""
    if count <= number:
        raise InputError(f"{name}: no frame {number}; expected one from 0 to {count - 1}")
