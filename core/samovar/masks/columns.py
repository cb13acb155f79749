"""What is known about each mask besides its pixels, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from samovar.errors import MaskError
from samovar.masks.runs import Index, read_only
from samovar.types import trusted

if TYPE_CHECKING:
    from samovar.types import ObjectId

__all__ = ["KEEP", "Columns", "Kept"]


class _Keep(Enum):
    KEEP = "keep"


KEEP = _Keep.KEEP
"""The default of an argument that leaves a column as it is, where None would drop it."""
Kept: TypeAlias = Literal[_Keep.KEEP]


@dataclass(frozen=True, eq=False)
class Columns:
    """N entries each; arrays are read-only. See `Masks` for their meaning."""

    scores: NDArray[np.float32]
    prompt_index: NDArray[np.int64]
    labels: tuple[str | None, ...]
    ids: tuple[ObjectId, ...]
    logits: NDArray[np.float32] | None = None
    stability: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name in ("scores", "prompt_index", "logits", "stability"):
            array = getattr(self, name)
            if array is not None:
                object.__setattr__(self, name, read_only(array))

    def __reduce__(self) -> tuple[Any, ...]:
        fields = self.scores, self.prompt_index, self.labels, self.ids, self.logits, self.stability
        return Columns, fields  # so that a copy is read-only too

    @classmethod
    def default(cls, count: int) -> Columns:
        """Score 1, no prompt (-1), no label, no id."""
        return _small_default(count) if count < 32 else _default(count)

    def take(self, index: Index) -> Columns:
        """Rows by slice or by an array of indices in [0, N)."""
        logits = None if self.logits is None else self.logits[index]
        stability = None if self.stability is None else self.stability[index]
        numbers = self.scores[index], self.prompt_index[index]
        if not isinstance(index, slice):
            rows = index.tolist()
            labels, ids = (tuple(column[row] for row in rows) for column in (self.labels, self.ids))
            return Columns(*numbers, labels, ids, logits, stability)
        taken = *numbers, self.labels[index], self.ids[index], logits, stability
        return trusted(Columns, taken) if index.step in (None, 1) else Columns(*taken)

    def replaced(
        self,
        scores: ArrayLike | Kept = KEEP,
        prompt_index: ArrayLike | Kept = KEEP,
        labels: Iterable[str | None] | Kept = KEEP,
        ids: Iterable[ObjectId] | Kept = KEEP,
        logits: ArrayLike | Kept | None = KEEP,
        stability: ArrayLike | Kept | None = KEEP,
    ) -> Columns:
        """These columns with some replaced by checked ones. Raises MaskError for a wrong length, shape or type."""
        count = len(self.scores)
        changes: dict[str, Any] = {}
        if scores is not KEEP:
            changes["scores"] = _numbers("scores", scores, (count,))
        if prompt_index is not KEEP:
            changes["prompt_index"] = _indices(prompt_index, count)
        if labels is not KEEP:
            changes["labels"] = _entries("labels", labels, count, (str,))
        if ids is not KEEP:
            changes["ids"] = _entries("ids", ids, count, (int, str))
        if logits is not KEEP:
            changes["logits"] = None if logits is None else _numbers("logits", logits, (count, None, None))
        if stability is not KEEP:
            changes["stability"] = None if stability is None else _numbers("stability", stability, (count,))
        return with_fields(self, **changes)

    @classmethod
    def concat(cls, parts: Sequence[Columns]) -> Columns:
        """All rows in order. Logits and stability are kept if every part has them (and logits of one size)."""
        logits = [part.logits for part in parts if part.logits is not None]
        stability = [part.stability for part in parts if part.stability is not None]
        alike = len(logits) == len(parts) and len({array.shape[1:] for array in logits}) == 1
        return cls(
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.prompt_index for part in parts]),
            tuple(label for part in parts for label in part.labels),
            tuple(ident for part in parts for ident in part.ids),
            np.concatenate(logits) if alike else None,
            np.concatenate(stability) if len(stability) == len(parts) else None,
        )

    def merged(self) -> Columns:
        """One row for all: the mean score, and the prompt, label and id if they agree on it."""

        def agreed(values: Sequence[Any], otherwise: Any) -> Any:
            return values[0] if len(values) and all(value == values[0] for value in values) else otherwise

        score = self.scores.mean() if len(self.scores) else 0.0
        prompt = agreed(self.prompt_index.tolist(), -1)
        return Columns(
            np.array([score], np.float32), np.array([prompt]), (agreed(self.labels, None),), (agreed(self.ids, None),)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays; labels and ids are counted as one pointer each."""
        optional = [array.nbytes for array in (self.logits, self.stability) if array is not None]
        return self.scores.nbytes + self.prompt_index.nbytes + sum(optional) + 16 * len(self.labels)


def _default(count: int) -> Columns:
    none = (None,) * count
    return Columns(np.ones(count, np.float32), np.full(count, -1, np.int64), none, none)


_small_default = cache(_default)  # one mask at a time is common, and columns never change


def _numbers(name: str, values: ArrayLike, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
    try:
        array = np.array(values, np.float32)
    except (TypeError, ValueError) as error:
        raise MaskError(f"{name} must be numbers, one row per mask; got {values!r:.60}") from error
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape))
    if not fits:
        wanted = "×".join("n" if size is None else str(size) for size in shape)
        raise MaskError(f"{name} must have shape {wanted}, one row per mask; got {array.shape}")
    if np.isnan(array).any():
        raise MaskError(f"{name} must be numbers; got NaN")
    return array


def _indices(values: ArrayLike, count: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    if array.shape != (count,) or (count and array.dtype.kind not in "iu"):
        raise MaskError(f"prompt_index must be {count} integers; got {array.dtype} of shape {array.shape}")
    return array.astype(np.int64)


def _entries(name: str, values: Iterable[Any], count: int, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    entries = (values,) if isinstance(values, str) else tuple(values)
    if not entries:
        return (None,) * count
    if len(entries) == count and {type(entry) for entry in entries} <= {type(None), *kinds}:
        return entries
    if len(entries) != count:
        raise MaskError(f"{name} must be one per mask ({count}); got {len(entries)}; use None where there is none")
    entries = tuple(int(entry) if isinstance(entry, np.integer) else entry for entry in entries)
    for entry in entries:
        if entry is not None and not isinstance(entry, kinds):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise MaskError(f"{name} must be {wanted} or None; got {entry!r:.60}")
    return entries
