"""The interface of everything that follows objects through a video, whatever it follows them with.

    Tracker                start, step           all that following needs
    ├── EditableTracker    add, remove, correct  objects come, go and are put right on the way
    ├── ResumableTracker   snapshot, restore     goes on after an interruption
    └── PrefetchingTracker prefetch              prepares frames in the background

A tracker has the abilities whose methods it has; ask by `isinstance`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.prompts import Prompt, PromptsLike
    from samovar.protocols import EmbeddingCache
    from samovar.types import ObjectId

__all__ = ["EditableTracker", "PrefetchingTracker", "ResumableTracker", "Snapshot", "Tracker", "VideoSegmenter"]

Snapshot: TypeAlias = Mapping[str, NDArray[Any]]
"""A tracker's state as named arrays, none of them of objects, so that it can be kept without pickling."""


@runtime_checkable
class Tracker(Protocol):
    """Follows objects from frame to frame. It keeps state: one tracker a video, used by one thread at a time.

    Every method that returns `Masks` returns one mask an object, in the order in which the objects were added, with
    the object's id and label. An object that cannot be seen has an empty mask with score 0 and keeps its id.
    """

    def start(self, frame: Image, prompts: PromptsLike) -> Masks:
        """Forget everything, and take `frame` as the first with the objects that `prompts` (maybe none) ask for.

        A prompt's `id` becomes the object's; one without gets the smallest positive number that is free.
        Raises PromptError for two prompts of one id, or a prompt that finds nothing.
        """

    def step(self, frame: Image) -> Masks:
        """The objects in the next frame. Raises InputError before `start`, or for a frame of another size."""


@runtime_checkable
class EditableTracker(Tracker, Protocol):
    """One whose objects may be changed on the way."""

    def add(self, prompts: PromptsLike) -> Masks:
        """Follow further objects from the latest frame on; returns the masks of all. Raises as `start`."""

    def remove(self, ids: Iterable[ObjectId]) -> None:
        """Stop following these objects. Raises InputError for an id that is not followed."""

    def correct(self, id: ObjectId, prompt: Prompt) -> Masks:
        """Put one object's mask in the latest frame right; returns the masks of all.

        What was learned of the object from here on builds on the correction. Raises InputError for an unknown id.
        """


@runtime_checkable
class ResumableTracker(Tracker, Protocol):
    """One whose state can be kept and gone on from, in another process too."""

    def snapshot(self) -> Snapshot:
        """All that `restore` needs to go on after the latest frame."""

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where `snapshot` was taken. Raises InputError for the snapshot of another kind of tracker."""


@runtime_checkable
class PrefetchingTracker(Tracker, Protocol):
    """One that can make use of knowing which frames come next."""

    def prefetch(self, frames: Iterable[Image]) -> None:
        """A hint that these frames come next: what can be made of them beforehand is made in the background."""


@runtime_checkable
class VideoSegmenter(Protocol):
    """A segmenter that has a tracker of its own, such as one with a memory of earlier frames."""

    def tracker(self, cache: EmbeddingCache | None = None) -> Tracker:
        """A new tracker with this segmenter's weights.

        Args:
            cache: what it encodes frames through, so that following something else through a video encodes nothing;
                None: nothing is kept.
        """
