"""`Entry`: one embedding as tiers keep it, with everything needed to rebuild it and to judge its worth."""

from __future__ import annotations

import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from samovar.cache.foreign import describe_torch, is_torch, own_copy
from samovar.cache.parts import Part, aligned, pack_part, widened_part
from samovar.cache.precision import Narrowed, Precision
from samovar.embedding import Embedding

__all__ = ["Entry", "EntryInfo"]


@dataclass(frozen=True)
class EntryInfo:
    """What is known of an entry without its tensors.

    Attributes:
        key: names it, see `samovar.cache.keys`.
        model: the segmenter's name, for people.
        nbytes: what the entry takes up, in bytes.
        cost: seconds that encoding the image took.
        hits: how often it was asked for since it was put.
        used: when it was last used, in seconds since 1970 by the clock of whoever used it.
    """

    key: str
    model: str
    nbytes: int
    cost: float
    hits: int = 0
    used: float = 0.0


@dataclass(frozen=True, eq=False)
class Entry:
    """One embedding as it is kept. Immutable, and so are the arrays in it.

    Attributes:
        key: names it.
        fingerprint: of the segmenter that made it.
        model: the segmenter's name, for people.
        width, height: the original image, in pixels.
        parts: its tensors.
        precision: the precision that was asked for.
        cost: seconds that encoding the image took.
        created: seconds since 1970.
    """

    key: str
    fingerprint: str
    model: str
    width: int
    height: int
    parts: tuple[Part, ...]
    precision: Precision = "exact"
    cost: float = 0.0
    created: float = 0.0
    _lent: weakref.ref[Embedding] | None = field(default=None, init=False, repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes of all stored tensors, each rounded up to a whole number of 64."""
        return sum(aligned(array.nbytes) for part in self.parts for array in part.arrays())

    @property
    def info(self) -> EntryInfo:
        return EntryInfo(self.key, self.model, self.nbytes, self.cost, used=self.created)

    @classmethod
    def pack(cls, embedding: Embedding, key: str, *, model: str, precision: Precision, cost: float) -> Entry:
        """`embedding` in stored form. Its tensors are copied: nobody holds a reference that could change them.

        Raises:
            CacheError: a tensor cannot be rebuilt from its bytes (of objects, sparse, of another library).
        """
        soft = embedding.compressible
        parts = tuple(
            pack_part(name, tensor, precision if name in soft else "exact", name in soft)
            for name, tensor in embedding.tensors.items()
            if name not in embedding.derived
        )
        return cls(
            key=key,
            fingerprint=embedding.fingerprint,
            model=model,
            width=embedding.width,
            height=embedding.height,
            parts=parts,
            precision=precision,
            cost=cost,
            created=time.time(),
        )

    @property
    def in_use(self) -> bool:
        """Whether somebody holds an embedding that shares this entry's memory."""
        return self._lent is not None and self._lent() is not None

    def unpack(self) -> Embedding:
        """The embedding; one and the same as long as somebody holds it.

        NumPy arrays in it are read-only views of the entry. A torch tensor cannot be read-only, so every look at one
        gives a copy.
        """
        alive = self._lent() if self._lent is not None else None
        if alive is not None:
            return alive
        embedding = Embedding(
            tensors={part.name: part.restore() if part.library == "numpy" else None for part in self.parts},
            width=self.width,
            height=self.height,
            fingerprint=self.fingerprint,
            compressible=frozenset(part.name for part in self.parts if part.compressible),
            derived=frozenset(part.name for part in self.parts if part.derived),
        )
        foreign = {part.name: part for part in self.parts if part.library != "numpy"}
        if foreign:
            object.__setattr__(embedding, "tensors", _Copies({**embedding.tensors, **foreign}))
        object.__setattr__(self, "_lent", weakref.ref(embedding))
        return embedding

    @classmethod
    def adopt(cls, embedding: Embedding, key: str, *, model: str, precision: Precision, cost: float) -> Entry | None:
        """`embedding` as a tier on its device keeps it: copies made there, rounded as `pack` would round them.

        None where it is not made of torch tensors only, or where only the CPU can round it.
        """
        names = [name for name in embedding.tensors if name not in embedding.derived]
        tensors = {name: embedding.tensors[name] for name in names}
        if precision == "int8" or not all(is_torch(tensor) for tensor in tensors.values()):
            return None
        soft = embedding.compressible if precision == "half" else frozenset()
        parts = tuple(
            Part(
                name,
                "torch",
                describe_torch(tensor),
                tuple(tensor.shape),
                Narrowed("raw", own_copy(tensor, rounded=name in soft)),
                name in embedding.compressible,
            )
            for name, tensor in tensors.items()
        )
        size = embedding.width, embedding.height
        return cls(key, embedding.fingerprint, model, *size, parts, precision, cost, time.time())

    def hosted(self) -> Entry:
        """The same entry in the memory of the CPU and in stored form, as slower tiers take it."""
        # Making integers again of what was restored from integers would round once more.
        precision: Precision = "exact" if self.precision == "int8" else self.precision
        packed = Entry.pack(self.unpack(), self.key, model=self.model, precision=precision, cost=self.cost)
        return replace(packed, precision=self.precision, created=self.created)

    def widened(self) -> Entry:
        """The same entry with every tensor as the encoder's own dtype, so that unpacking it costs no arithmetic."""
        if all(part.stored.encoding == "raw" for part in self.parts):
            return self
        return replace(self, parts=tuple(widened_part(part) for part in self.parts))


class _Copies(Mapping[str, Any]):
    """Tensors by name; those given as a `Part` are restored anew at every look."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        self._kept = kept

    def __getitem__(self, name: str) -> Any:
        value = self._kept[name]
        return value.restore() if isinstance(value, Part) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)
