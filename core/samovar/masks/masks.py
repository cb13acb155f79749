"""`Masks`: the answer for one image, N masks kept as run lengths."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.deprecation import renamed_method, warn_renamed
from samovar.errors import MaskError, MissingExtraError
from samovar.masks import coco, dense, measure, polygons, transform
from samovar.masks.columns import KEEP, Columns, Kept
from samovar.masks.polygons import Polygon, Region, Rule
from samovar.masks.runs import Index, Runs, check_size, checked, concat, empty, read_only
from samovar.types import trusted

if TYPE_CHECKING:
    from samovar.image import Image, ImageLike
    from samovar.prompts import Prompt
    from samovar.types import ObjectId

__all__ = ["Masks"]

_SHOWN = 5  # labels and scores in a repr


@dataclass(frozen=True, eq=False, repr=False)
class Masks:
    """N masks of one image, never dense: memory grows with the length of outlines, not with the image.

    Made by the `from_…` methods, `empty` and `concat`. Immutable: every array is read-only and every method returns
    new `Masks`. `masks[3]`, `masks[3:7]`, `masks[index array]` and `masks[bool array]` are `Masks` too, and iteration
    gives `Masks` of one.

    Attributes:
        runs: the pixels, as column-major run lengths (counts, offsets, width, height).
        columns: everything below, together.
        scores: N float32, the predicted quality in [0, 1]; 1 where nobody scored.
        prompt_index: N int64, the prompt that each mask came from; -1 for none.
        labels, ids: N entries each, None where there is none; carried from the prompts.
        logits: N×h×w float32 low-resolution logits in the segmenter's own frame, or None.
        stability: N float32 stability scores, or None.
    """

    runs: Runs
    columns: Columns

    # ------------------------------------------------------------------------------------------------- made from

    @classmethod
    def _of(cls, runs: Runs, columns: Columns | None = None) -> Masks:
        return cls(runs, Columns.default(len(runs)) if columns is None else columns)

    @classmethod
    def empty(cls, width: int, height: int) -> Masks:
        """No masks of a `width`×`height` image (pixels, at least 1×1, below 2³¹ in all)."""
        return cls._of(empty(0, *check_size(width, height)))

    @classmethod
    def from_array(cls, array: ArrayLike) -> Masks:
        """N×H×W bool or integer (non-zero is foreground). Raises MaskError for another shape or for floats."""
        return cls._of(dense.from_array(array))

    @classmethod
    def from_crops(cls, crops: Sequence[ArrayLike], origins: ArrayLike, width: int, height: int) -> Masks:
        """Masks given inside their boxes; costs only the crops, whatever the size of the image.

        Args:
            crops: N arrays, each h×w bool or integer (non-zero is foreground); 0×0 is an empty mask.
            origins: N×2 integers (x, y): where the top left pixel of each crop lies in the image.
            width, height: the image, in pixels.

        Raises:
            MaskError: a wrong shape or type, or a crop that leaves the image.
        """
        return cls._of(dense.from_crops(crops, origins, width, height))

    @classmethod
    def from_runs(cls, counts: ArrayLike, offsets: ArrayLike, width: int, height: int) -> Masks:
        """Column-major run lengths of all masks, background first, and N+1 offsets into them.

        Raises MaskError unless every mask has at least one run and its runs sum to width × height.
        """
        return cls._of(checked(counts, offsets, width, height))

    @classmethod
    def from_coco_rle(
        cls, rles: Sequence[Mapping[str, Any]], width: int | None = None, height: int | None = None
    ) -> Masks:
        """COCO RLE: a list of {"size": [height, width], "counts": …}, counts compressed (str or bytes) or a list.

        `width` and `height` are needed only for an empty list. Raises MaskError for malformed or torn counts, counts
        that do not sum to the size, or masks of different sizes.
        """
        return cls._of(coco.from_coco_rle(rles, width, height))

    @classmethod
    def from_polygons(
        cls, instances: Sequence[Iterable[Region]], width: int, height: int, *, rule: Rule = "even-odd"
    ) -> Masks:
        """Polygons: one mask per instance, each a list of `Polygon`s and of rings (K×2 (x, y) or flat x1, y1, x2, …).

        By the rule "even-odd" a pixel is inside where its centre is inside an odd number of the instance's rings; it
        inverts `to_polygons()` exactly. "coco" joins the rings and draws each pixel for pixel as pycocotools does.
        Raises MaskError for rings of fewer than 3 points or with points that are not finite.
        """
        return cls._of(polygons.from_polygons(instances, width, height, rule))

    @classmethod
    def from_packed(cls, packed: ArrayLike, width: int, height: int) -> Masks:
        """N×H×⌈W/8⌉ uint8 as `to_packed` gives. Raises MaskError for another shape or type."""
        return cls._of(dense.from_packed(packed, width, height))

    @classmethod
    def from_label_map(cls, labels: ArrayLike) -> Masks:
        """H×W integers: one mask for every value but 0, in ascending order, with the value as its id."""
        runs, values = dense.from_label_map(labels)
        return cls._of(runs).replace(ids=values.tolist())

    @classmethod
    def concat(cls, parts: Iterable[Masks]) -> Masks:
        """All masks of `parts`, in order. Raises MaskError for no parts at all, or parts of different image sizes.

        Logits and stability are kept if every part has them (and logits of one size).
        """
        given = list(parts)
        if not given:
            raise MaskError("concat needs at least one Masks, to know the image size; use Masks.empty(width, height)")
        if len(given) == 1:
            return given[0]
        for part in given:
            measure.same_size(given[0].runs, part.runs)
        return cls(concat([part.runs for part in given]), Columns.concat([part.columns for part in given]))

    def replace(
        self,
        *,
        scores: ArrayLike | Kept = KEEP,
        labels: Iterable[str | None] | Kept = KEEP,
        ids: Iterable[ObjectId] | Kept = KEEP,
        prompt_index: ArrayLike | Kept = KEEP,
        logits: ArrayLike | Kept | None = KEEP,
        stability: ArrayLike | Kept | None = KEEP,
    ) -> Masks:
        """The same masks with some columns replaced; what is not named stays. `None` drops logits or stability.

        Raises MaskError for a wrong length, shape or type, and for NaN.
        """
        columns = self.columns.replaced(scores, prompt_index, labels, ids, logits, stability)
        return self._seen_on(Masks(self.runs, columns))

    # ------------------------------------------------------------------------------------------------- what they are

    @property
    def width(self) -> int:
        """Width of the image in pixels."""
        return self.runs.width

    @property
    def height(self) -> int:
        """Height of the image in pixels."""
        return self.runs.height

    @property
    def scores(self) -> NDArray[np.float32]:
        return self.columns.scores

    @property
    def prompt_index(self) -> NDArray[np.int64]:
        return self.columns.prompt_index

    @property
    def labels(self) -> tuple[str | None, ...]:
        return self.columns.labels

    @property
    def ids(self) -> tuple[ObjectId, ...]:
        return self.columns.ids

    @property
    def logits(self) -> NDArray[np.float32] | None:
        return self.columns.logits

    @property
    def stability(self) -> NDArray[np.float32] | None:
        return self.columns.stability

    @cached_property
    def _measured(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return measure.areas_and_boxes(self.runs)

    @property
    def areas(self) -> NDArray[np.int64]:
        """N int64, foreground pixels."""
        return self._measured[0]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """N×4 float32, x1 y1 x2 y2 along the pixel edges (right and bottom exclusive); 0 0 0 0 for an empty mask."""
        return self._measured[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the run lengths and of all columns."""
        return self.runs.counts.nbytes + self.runs.offsets.nbytes + self.columns.nbytes

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        parts = [f"{len(self)} of a {self.width}×{self.height} image"]
        more = ["…"] if len(self) > _SHOWN else []
        if any(label is not None for label in self.labels):
            parts.append("labels " + ", ".join([str(label) for label in self.labels[:_SHOWN]] + more))
        if (self.scores != 1).any():
            parts.append("scores " + ", ".join([f"{score:.2f}" for score in self.scores[:_SHOWN].tolist()] + more))
        return f"Masks({'; '.join(parts)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Masks, (self.runs, self.columns)

    def __getitem__(self, key: int | slice | Sequence[int] | NDArray[Any]) -> Masks:
        return self._take(self.runs.index(key))

    def __iter__(self) -> Iterator[Masks]:
        return (self._take(slice(index, index + 1)) for index in range(len(self)))

    def _take(self, index: Index) -> Masks:
        taken = trusted(Masks, (self.runs.take(index), self.columns.take(index)))
        measured = self.__dict__.get("_measured")
        if measured is not None:  # don't measure again what was measured for all
            taken.__dict__["_measured"] = read_only(measured[0][index]), read_only(measured[1][index])
        return self._seen_on(taken)

    def _seen_on(self, masks: Masks) -> Masks:
        """`masks`, which are of the same image, drawn on what these are drawn on."""
        image = self.__dict__.get("_image")
        if image is not None:
            masks.__dict__["_image"] = image
        return masks

    def equals(self, other: Masks) -> bool:
        """Whether both hold the same pixels in the same order, in images of one size. Columns are not compared."""
        return (
            (self.width, self.height) == (other.width, other.height)
            and np.array_equal(self.runs.offsets, other.runs.offsets)
            and np.array_equal(self.runs.counts, other.runs.counts)
        )

    # ------------------------------------------------------------------------------------------------- given out

    def to_array(self) -> NDArray[np.bool_]:
        """N×H×W bool. The one method whose memory is that of dense masks."""
        return dense.to_array(self.runs)

    def to_coco_rle(self, compressed: bool = True) -> list[dict[str, Any]]:
        """COCO RLE, one {"size": [height, width], "counts": str} a mask; counts are a list if not `compressed`."""
        return coco.to_coco_rle(self.runs, compressed)

    def to_polygons(self, tolerance: float = 0.0) -> list[list[Polygon]]:
        """For every mask its regions as polygons with holes, along the pixel edges, largest first.

        With a `tolerance` (pixels) points are left out (Douglas and Peucker) as long as no point of the outline moves
        farther than that; `polygon_loss` says what it costs. Up to 0.5 it costs nothing: `from_polygons` gives the same
        mask back.
        """
        return polygons.to_polygons(self.runs, tolerance)

    def polygon_loss(self, tolerance: float) -> NDArray[np.float32]:
        """N float32: 1 − IoU of each mask with what `to_polygons(tolerance)` draws; 0 for an empty mask."""
        drawn = Masks.from_polygons(self.to_polygons(tolerance), self.width, self.height)
        pairs = np.arange(len(self))
        kept = measure.pair_iou(self.runs, drawn.runs, pairs, pairs, self.areas, drawn.areas)
        return np.where(self.areas > 0, 1 - kept, 0).astype(np.float32)

    def to_packed(self) -> NDArray[np.uint8]:
        """N×H×⌈W/8⌉ uint8: each row's bits, leftmost pixel in the highest bit, rows padded with zero bits."""
        return dense.to_packed(self.runs)

    def to_label_map(self) -> NDArray[np.int32]:
        """H×W int32: 0 for background, i + 1 where mask i lies; where masks overlap the later one shows."""
        labels = np.zeros((self.height, self.width), np.int32)
        for index, (crop, x, y) in enumerate(self.crops()):
            labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop] = index + 1
        return labels

    def crops(self) -> Iterator[tuple[NDArray[np.bool_], int, int]]:
        """For every mask its pixels inside its box, h×w bool, and the box's x and y; 0×0 at 0, 0 for an empty mask."""
        for index, box in enumerate(self.boxes.astype(np.int64).tolist()):
            yield dense.crop_of(self.runs, index, box), box[0], box[1]

    def as_prompt(self, points: ArrayLike | None = None, point_labels: ArrayLike | None = None) -> Prompt:
        """Deprecated: `Prompt.from_mask(mask, points, point_labels)`."""
        from samovar.prompts import Prompt

        warn_renamed("Masks.as_prompt()", "Prompt.from_mask(mask)")
        return Prompt.from_mask(self, points, point_labels)

    # ------------------------------------------------------------------------------------------------- looked at

    def draw(self, image: ImageLike | None = None, *, tags: bool = True) -> NDArray[np.uint8]:
        """H×W×3 uint8 RGB: every mask tinted, outlined and numbered on `image`.

        Without one, on the file that they were segmented in, or else on a dark ground. Where masks overlap the smallest
        shows. Raises MaskError for an image of another size, and ImageError for one that cannot be read.
        """
        from samovar.masks.draw import draw_masks

        return draw_masks(self, self._image_seen() if image is None else image, tags=tags)

    def seen_on(self, image: Image) -> Masks:
        """The same masks, which `draw` and the like draw on this image where they are given none.

        Remembered for files alone, which cost nothing to remember. `Runtime.segment` and `segment_all` do this.
        """
        if image.path is None:
            return self
        seen = trusted(Masks, (self.runs, self.columns))
        seen.__dict__.update(self.__dict__, _image=image.without_pixels())
        return seen

    def _image_seen(self) -> Image | None:
        image = self.__dict__.get("_image")
        return None if image is None else image.without_pixels()  # a copy: its pixels go when they have been drawn on

    def show(self, image: ImageLike | None = None) -> None:
        """Show what `draw` draws: below the notebook's cell, elsewhere in the system's viewer of images."""
        from samovar.image.display import show_pixels

        show_pixels(self.draw(image), repr(self))

    def plot(self, image: ImageLike | None = None, ax: Any = None) -> Any:
        """Show what `draw` draws on matplotlib axes, the current ones if none are given; returns them.

        Raises MissingExtraError without matplotlib.
        """
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise MissingExtraError("masks.plot() needs matplotlib; pip install matplotlib, or masks.show()") from error
        ax = pyplot.gca() if ax is None else ax
        ax.imshow(self.draw(image))
        ax.set_axis_off()
        return ax

    def save(self, path: str | os.PathLike[str], image: ImageLike | None = None) -> None:
        """Write what `draw` draws to an image file, in the format that its suffix says.

        Raises:
            MaskError: a suffix of no image format, or an image of another size.
            OSError: the file cannot be written.
        """
        from samovar.masks.draw import save_drawing

        save_drawing(path, lambda: self.draw(image))

    def _repr_png_(self) -> bytes:
        from samovar.masks.draw import to_png

        return to_png(self, self._image_seen())

    def _repr_html_(self) -> str:
        from samovar.masks.draw import to_html

        return to_html(self, self._repr_png_())

    # ------------------------------------------------------------------------------------------------- compared

    def iou(self, other: Masks, crowd: ArrayLike | None = None) -> NDArray[np.float64]:
        """N×M intersection over union with the masks of `other`; 0 where either is empty.

        `crowd`: M bool; where True the intersection is divided by this mask's own area, as COCO does for crowds.
        Raises MaskError for masks of another image size.
        """
        crowds = None if crowd is None else np.asarray(crowd, np.bool_)
        if crowds is not None and crowds.shape != (len(other),):
            raise MaskError(f"crowd must be one bool per mask of other ({len(other)}); got shape {crowds.shape}")
        return measure.mask_iou(self.runs, other.runs, self._measured, other._measured, crowds)

    def box_iou(self, other: Masks) -> NDArray[np.float64]:
        """N×M intersection over union of the masks' boxes; 0 where either is empty."""
        measure.same_size(self.runs, other.runs)
        return measure.box_iou(self.boxes, other.boxes)

    def nms(self, threshold: float, by: Literal["mask", "box"] = "mask") -> NDArray[np.int64]:
        """Indices kept by greedy non-maximum suppression, best-scored first: `masks[masks.nms(0.7)]`.

        A mask goes when its IoU with a kept, better-scored one is above `threshold`; of equal scores the earlier stays.
        """
        if by not in ("mask", "box"):
            raise MaskError(f'nms goes by "mask" or "box"; got {by!r}')
        if by == "box":
            return measure.nms_boxes(self.boxes, self.scores, threshold)
        return measure.nms_masks(self.runs, self.areas, self.boxes, self.scores, threshold)

    def rotated_boxes(self) -> NDArray[np.float32]:
        """N×5 float32: centre x, centre y, width, height (pixels) and angle (degrees, clockwise on the screen).

        The smallest rectangle around the whole pixels; zeros for an empty mask. The angle is that from the x axis to
        the side called width and lies in [0, 90).
        """
        return measure.rotated_boxes(self.runs)

    # ------------------------------------------------------------------------------------------------- changed

    def union(self) -> Masks:
        """One mask: the pixels in any of them. Its score is their mean; it keeps what they agree on."""
        return Masks(transform.union(self.runs, np.zeros(len(self), np.int64), 1), self.columns.merged())

    def intersection(self) -> Masks:
        """One mask: the pixels in all of them, none if there are no masks. Columns as for `union`."""
        return Masks(transform.intersection(self.runs), self.columns.merged())

    def resize(self, width: int, height: int) -> Masks:
        """For the image resized to `width`×`height`: nearest neighbour by pixel centres."""
        return Masks(transform.resize(self.runs, *check_size(width, height)), self.columns)

    def crop(self, box: ArrayLike) -> Masks:
        """For the part of the image inside `box`, integers x1 y1 x2 y2; outside the image there is background.

        Logits are dropped, as they show the whole image. Raises MaskError unless x1 < x2 and y1 < y2 are integers.
        """
        x1, y1, x2, y2 = transform.whole_box(box)
        return self.paste(x2 - x1, y2 - y1, -x1, -y1)

    def paste(self, width: int, height: int, x: int, y: int) -> Masks:
        """For a `width`×`height` image in which this one's top left corner lies at (x, y); the rest is cut off.

        Undoes `crop`. Logits are dropped, as they show the part only. Raises MaskError unless x and y are whole.
        """
        pasted = transform.paste(self.runs, *check_size(width, height), *transform.whole_place(x, y))
        return Masks(pasted, self.columns.replaced(logits=None))

    def remove_small_regions(self, min_area: float) -> Masks:
        """Holes below `min_area` pixels filled, then islands below it dropped; the largest island always stays.

        Regions touch at corners too, as in Segment Anything's function of this name. Raises MaskError for a `min_area`
        that is negative or not a number.
        """
        if not min_area >= 0:
            raise MaskError(f"min_area must be 0 or more pixels; got {min_area!r}")
        return self._seen_on(Masks(transform.remove_small_regions(self.runs, min_area), self.columns))

    # ------------------------------------------------------------------------------------------------- old names

    same_as = renamed_method("Masks.same_as", equals)
    clean = renamed_method("Masks.clean", remove_small_regions)
