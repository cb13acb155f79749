"""One `Prompt`: what describes one wanted object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import PromptError
from samovar.kinds import KINDS, Kind
from samovar.prompts import checks

if TYPE_CHECKING:
    from samovar.image import Image, ImageLike
    from samovar.masks import Masks

__all__ = ["Exemplar", "Ident", "Prompt"]

Ident: TypeAlias = int | str | None
"""What a caller may use to recognise a prompt's masks."""


@dataclass(frozen=True, eq=False)
class Exemplar:
    """An example of what to find.

    Attributes:
        image: the picture that shows it; anything that `Image` can be made of.
        mask: one `Masks` item, or an H×W bool or integer array, at the size of `image`.

    Raises:
        PromptError: not one mask.
        ImageError: a source that cannot be an image.
    """

    image: Image
    mask: Masks

    if TYPE_CHECKING:

        def __init__(self, image: ImageLike, mask: Masks | ArrayLike) -> None: ...

    def __post_init__(self) -> None:
        from samovar.image import Image

        mask = checks.mask(self.mask)
        if isinstance(mask, np.ndarray):
            raise PromptError("an exemplar's mask must be bool or integer; got float logits; threshold them")
        if not isinstance(self.image, Image):
            object.__setattr__(self, "image", Image(self.image))
        object.__setattr__(self, "mask", mask)


@dataclass(frozen=True, eq=False)
class Prompt:
    """One requested object. Any of these may be given together; a segmenter uses them all.

    Attributes:
        points: N×2 float32, pixels of the original image, (x, y), pixel centres at +0.5.
        point_labels: N int8, 1 foreground, 0 background. All 1 if not given.
        box: 4 float32, x1 y1 x2 y2 in pixels.
        mask: the object's rough mask: one `Masks` item or an H×W bool/integer array at the image's size; or
            h×w float32 low-res logits as an earlier answer of the same segmenter had them.
        text: words naming the object.
        exemplar: an image and mask showing one such object.
        label: rides through to the mask.
        id: rides through to the mask.

    Raises:
        PromptError: nothing given, a wrong shape, a NaN, or a box without area.
    """

    points: NDArray[np.float32] | None = None
    point_labels: NDArray[np.int8] | None = None
    box: NDArray[np.float32] | None = None
    mask: Masks | NDArray[np.float32] | None = None
    text: str | None = None
    exemplar: Exemplar | None = None
    label: str | None = None
    id: Ident = None

    if TYPE_CHECKING:  # callers may pass anything array-like; the attributes are what validation made of it

        def __init__(
            self,
            points: ArrayLike | None = None,
            point_labels: ArrayLike | None = None,
            box: ArrayLike | None = None,
            mask: Masks | ArrayLike | None = None,
            text: str | None = None,
            exemplar: Exemplar | None = None,
            label: str | None = None,
            id: Ident = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        put = object.__setattr__
        if self.points is not None:
            put(self, "points", checks.points(self.points))
            put(self, "point_labels", checks.point_labels(self.point_labels, len(self.points)))
        elif self.point_labels is not None:
            raise PromptError("point_labels given without points; pass points=[[x, y], …] too")
        if self.box is not None:
            put(self, "box", checks.one_box(self.box))
        if self.mask is not None:
            put(self, "mask", checks.mask(self.mask))
        if self.text is not None and (not isinstance(self.text, str) or not self.text.strip()):
            raise PromptError(f"text must be words; got {self.text!r:.80}; pass e.g. 'a red car'")
        if self.exemplar is not None and not isinstance(self.exemplar, Exemplar):
            got = type(self.exemplar).__name__
            raise PromptError(f"exemplar must show an object; got {got}; pass samovar.Exemplar(image, mask)")
        checks.label(self.label)
        put(self, "id", checks.ident(self.id))
        if not self.kinds:
            raise PromptError("empty prompt; give at least one of points, box, mask, text, exemplar")

    @property
    def kinds(self) -> frozenset[Kind]:
        """Which kinds of prompt this one combines."""
        return frozenset(kind for kind in KINDS if getattr(self, kind) is not None)
