"""`Fingerprint`: what a segmenter's answers depend on besides the image and the prompts, in two parts."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from samovar.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Fingerprint", "fingerprint_arrays"]


@dataclass(frozen=True)
class Fingerprint:
    """Identifies a segmenter. Two parts, so that a new decoder keeps the embeddings of the old one.

    Neither part may be made from a path, a name that a user chose or a time: other weights at the same path would then
    be answered from the cache of the old ones. `fingerprint_arrays` makes one from the weights themselves.

    Attributes:
        encoder: everything that an embedding depends on: weights, configuration, preprocessing and dtype. It is part of
            the cache's key, and every embedding carries it.
        decoder: everything else that masks depend on. Kept beside results, in events and receipts; in no key.

    Raises:
        InputError: a part that is not one line of text.
    """

    encoder: str
    decoder: str

    def __post_init__(self) -> None:
        for part, text in (("encoder", self.encoder), ("decoder", self.decoder)):
            if not isinstance(text, str) or not text.strip() or len(text.splitlines()) != 1:
                raise InputError(f"the {part} of a fingerprint must be one line of text; got {text!r:.60}")

    def __str__(self) -> str:
        """Both parts as one line, the same in every release; only one of them where they are equal."""
        return self.encoder if self.encoder == self.decoder else f"{self.encoder}+{self.decoder}"

    @classmethod
    def of(cls, value: Fingerprint | str) -> Fingerprint:
        """`value` itself, or both parts of a plain string, which segmenters written before there were two may have.

        Raises InputError for anything else.
        """
        if isinstance(value, Fingerprint):
            return value
        return _of_one(value) if isinstance(value, str) else cls(value, value)


@lru_cache(maxsize=64)  # a segmenter's is asked for on every call
def _of_one(text: str) -> Fingerprint:
    return Fingerprint(text, text)


def fingerprint_arrays(arrays: Mapping[str, Any]) -> str:
    """BLAKE3 over the names, shapes, dtypes and values of weights: 32 hex digits, whatever order they come in.

    Args:
        arrays: name → NumPy array or torch tensor (on any device). Equal values in the two give equal digests.

    Raises:
        InputError: an array of Python objects.
    """
    from blake3 import blake3

    # A number, not blake3.AUTO: that would use a pool of the whole process, which a forked child waits for in vain.
    hasher = blake3(max_threads=min(4, os.cpu_count() or 1))
    for name in sorted(arrays):
        dtype, shape, values = _plain(name, arrays[name])
        for field in (name.encode(), dtype.encode(), ",".join(map(str, shape)).encode(), values.data):
            hasher.update(len(field).to_bytes(8, "little"))  # a prefix each: no two lists of fields give the same bytes
            hasher.update(field)
    return hasher.hexdigest(length=16)


def _plain(name: str, array: Any) -> tuple[str, tuple[int, ...], NDArray[np.uint8]]:
    """dtype and shape of an array, and its values in little-endian bytes."""
    torch = sys.modules.get("torch")  # a tensor can only come from somebody who has imported it
    if torch is not None and isinstance(array, torch.Tensor):
        flat = array.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return str(array.dtype).removeprefix("torch."), tuple(array.shape), flat.view(torch.uint8).numpy()
    import numpy as np  # only here: whoever lists models imports this module

    array = np.asarray(array)
    if array.dtype.hasobject:
        raise InputError(f"array {name!r} holds Python objects; expected numbers")
    values = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return array.dtype.name, array.shape, values.view(np.uint8)
