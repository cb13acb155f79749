"""The interfaces of models, prompt sources and mask sinks. Core calls nothing else of them.

    Segmenter      fingerprint, prompt_kinds, encode, decode, decode_bytes
      HasDevice      device         where it wants its embeddings
    PromptSource   prompts
    MaskSink       done, write, close
      PixelNeeds     needs_pixels   whether a source or a sink looks at the pixels

The indented ones are abilities that not all have, asked for by `isinstance`. See also `samovar.tracking`,
`samovar.inpainting` and `samovar.automatic.HasAutomaticDefaults`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from samovar.embedding import Embedding
    from samovar.errors import SamovarError
    from samovar.fingerprint import Fingerprint
    from samovar.image import Image
    from samovar.masks import Masks
    from samovar.prompts import Kind, Prompts

__all__ = [
    "DecodeOptions",
    "EmbeddingCache",
    "EmbeddingLookup",
    "ExpectsImages",
    "HasDevice",
    "MaskSink",
    "PixelNeeds",
    "PlacesLogits",
    "PromptSource",
    "ReportsProblems",
    "Segmenter",
    "device_of",
]


@dataclass(frozen=True)
class DecodeOptions:
    """How prompts are answered.

    Attributes:
        multimask: up to three masks a prompt (whole, part, sub-part), best-scored first; otherwise exactly one.
            Either way a text is answered with one mask an instance, best-scored first, by models that find them.
        logits: keep `Masks.logits`, so that `Prompt.from_mask(masks[i])` refines exactly.
        stability_offset: when given, fill `Masks.stability`: the IoU of the mask thresholded this far above and
            below `mask_threshold`, in logit units, as in SAM's automatic mask generator.
        mask_threshold: logits above it are foreground.
    """

    multimask: bool = False
    logits: bool = False
    stability_offset: float | None = None
    mask_threshold: float = 0.0


@runtime_checkable
class Segmenter(Protocol):
    """A promptable model in SAM's two stages. Stateless between calls: any number of threads may call it at once."""

    @property
    def fingerprint(self) -> Fingerprint | str:
        """Identifies weights, configuration, preprocessing and dtype. Its encoder's part is part of every cache key.

        A plain string, from before there were two parts, still does: both are then that string. Whoever asks goes
        through `Fingerprint.of`; `Runtime.fingerprint` has.
        """

    @property
    def prompt_kinds(self) -> frozenset[Kind]:
        """The kinds of prompt that `decode` takes."""

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        """One embedding an image, in order. Deterministic."""

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        """One `Masks` an image, in order, in the order of its prompts.

        `Masks.prompt_index` says which prompt each mask came from; `scores` are predicted IoUs in [0, 1], and the
        masks of one prompt come best-scored first. Labels and ids are filled in by the caller.
        """

    def decode_bytes(self, width: int, height: int) -> int:
        """Working memory that one more prompt on a `width`×`height` image needs, in bytes (an upper estimate)."""


@runtime_checkable
class PlacesLogits(Protocol):
    """A segmenter that fills `Masks.logits` when asked to, and says where on the image they lie."""

    def logits_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 in pixels of a `width`×`height` image: what all rows and columns of the logits cover together.

        Logit (row i, column j) of h×w lies at its part's centre: at x1 + (j + 0.5) · (x2 − x1) / w, and so on. The box
        reaches beyond an image that the model pads to a square.
        """


@runtime_checkable
class HasDevice(Protocol):
    """A segmenter that says where it wants its embeddings; those of others are kept in the host's memory."""

    @property
    def device(self) -> str:
        """Such as "cpu" or "cuda:1"."""


_WITH_DEVICE: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def device_of(segmenter: Segmenter) -> str:
    """Where a segmenter wants its embeddings: the device that it says it has, or else "cpu".

    What a class can do is asked once: to check a protocol takes as long as some twentieth of a look-up in a cache.
    """
    kind = type(segmenter)
    if kind not in _WITH_DEVICE:
        _WITH_DEVICE[kind] = isinstance(segmenter, HasDevice)
    return cast("HasDevice", segmenter).device if _WITH_DEVICE[kind] else "cpu"


class EmbeddingLookup(Protocol):
    """What an `EmbeddingCache` answers."""

    @property
    def embeddings(self) -> Sequence[Embedding]:
        """One an image, in order."""


class EmbeddingCache(Protocol):
    """What those who encode by themselves, such as trackers, use of a `samovar.cache.Cache`."""

    def get_or_encode(self, images: Sequence[Image], segmenter: Segmenter) -> EmbeddingLookup:
        """The embeddings of `images`; those that it does not have are encoded, and kept."""

    def prefetch(self, images: Sequence[Image], segmenter: Segmenter) -> None:
        """A hint that these images come next: their embeddings are fetched or made in the background."""


@runtime_checkable
class PixelNeeds(Protocol):
    """A prompt source or mask sink that says whether it looks at pixels; of one that does not say it is assumed.

    A job decodes no images ahead for parts that look at no pixels.
    """

    @property
    def needs_pixels(self) -> bool:
        """False: the size and the name of an image are all that it asks for."""


@runtime_checkable
class ReportsProblems(Protocol):
    """Something that goes on over what it could not read or write, and says what that was."""

    @property
    def problems(self) -> Sequence[SamovarError]:
        """What has gone wrong so far."""


@runtime_checkable
class ExpectsImages(Protocol):
    """A prompt source that wants to know all images of a job beforehand: then which it means is no matter of order."""

    def expect(self, images: Sequence[Image]) -> int:
        """Take note of the images; return of how many of them it has something to say. Opens none of them."""


@runtime_checkable
class PromptSource(Protocol):
    """Looks at images and says what to segment: a detector, an OCR engine, an annotation file, a text grounder."""

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """One `Prompts` an image, in order; empty where it finds nothing.

        `requests`, when given, are prompts that the segmenter cannot take (text, say): the source answers each image's
        requests with prompts that it can (boxes, say), carrying over their labels and ids.
        """


@runtime_checkable
class MaskSink(Protocol):
    """Takes images and their masks: a file format, an editor, a pipeline. Whoever opened it closes it."""

    def done(self) -> Iterable[str]:
        """The keys already written by an earlier, perhaps killed, run: these images are skipped."""

    def write(self, key: str, image: Image, masks: Masks) -> None:
        """Keep one image's masks under `key` (unique in the run). Once it returns, a kill loses nothing of it.

        Raises InputError for what is wrong with this image alone, such as a key that the format cannot hold: a job goes
        on after it, and ends after any other error.
        """

    def close(self) -> None:
        """Finish: after it the output is complete and valid. Idempotent."""
