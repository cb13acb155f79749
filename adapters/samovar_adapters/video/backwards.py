"""Following backwards: from the frame in which somebody says what to follow to the beginning of the video."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from tempfile import TemporaryFile

from samovar.errors import InputError
from samovar.masks import Masks
from samovar.prompts import PromptsLike
from samovar.tracking import Tracker
from samovar_adapters.video.frames.frame import Frame
from samovar_adapters.video.lines import from_line, to_line
from samovar_adapters.video.starting import Starter

__all__ = ["Earlier", "follow_back"]


class Earlier:
    """The masks of a video's first frames, found last first. They lie in a temporary file and not in memory."""

    def __init__(self) -> None:
        self._file = TemporaryFile("w+", encoding="ascii")  # noqa: SIM115 - closed by close
        self._places: dict[int, int] = {}

    def add(self, number: int, masks: Masks) -> None:
        """Keep the masks of frame `number`."""
        self._places[number] = self._file.seek(0, 2)
        self._file.write(to_line(masks))

    def __contains__(self, number: int) -> bool:
        return number in self._places

    def masks(self, number: int) -> Masks:
        """The masks of a frame that is kept."""
        self._file.seek(self._places[number])
        return from_line(self._file.readline())

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


def follow_back(
    frames: Iterable[Frame], tracker: Tracker, starter: Starter | PromptsLike, earlier: Earlier
) -> Generator[Frame]:
    """One frame after another whose masks are now in `earlier`; all but the first, for which the prompts are.

    Args:
        frames: the frame that the prompts are for, and those before it, last first: `FrameReader.backwards`.
        earlier: for `follow`, which takes the masks from there, and starts with the same prompts in the same frame.

    Raises:
        InputError: no frames.
        PromptError: a prompt that finds nothing.
    """
    started = False
    for frame in frames:
        if started:
            earlier.add(frame.number, tracker.step(frame.image))
            yield frame
        else:
            tracker.start(frame.image, starter.first(frame.image) if isinstance(starter, Starter) else starter)
            started = True
    if not started:
        raise InputError("no frames to follow anything through; name another video")
