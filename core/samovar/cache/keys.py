"""What names an entry: everything that its numbers depend on, and nothing else.

Each key is BLAKE3 over length-prefixed fields, so that no two different lists of fields give the same bytes. A path, a
time stamp or an identifier that a caller made up is never part of a key.
"""

from __future__ import annotations

from blake3 import blake3

__all__ = ["SCHEMA", "alias_key", "entry_key", "fields_digest"]

SCHEMA = 1
"""Version of keys, entries and the folder's layout. Raise it when any of them changes meaning."""


def fields_digest(*fields: bytes) -> str:
    """BLAKE3 of `fields`, each preceded by its length; 64 hex digits."""
    hasher = blake3()
    for field in fields:
        hasher.update(len(field).to_bytes(8, "little"))
        hasher.update(field)
    return hasher.hexdigest()


def entry_key(pixels: str, fingerprint: str, precision: str) -> str:
    """The key of one image's embedding.

    Args:
        pixels: digest of the decoded pixels with their shape, dtype and channel order (`Image.digest`).
        fingerprint: of the segmenter: weights, configuration, preprocessing and compute dtype.
        precision: how the cache stores tensors that tolerate it; an exact reader never meets a rounded entry.
    """
    return fields_digest(
        b"samovar embedding", str(SCHEMA).encode(), pixels.encode(), fingerprint.encode(), precision.encode()
    )


def alias_key(file: str, decoder: str) -> str:
    """The key under which the pixel digest of an encoded picture is remembered.

    Args:
        file: digest of the whole file (`Image.file_digest`).
        decoder: identifies what turns the file into pixels; another decoder may give other pixels.
    """
    return fields_digest(b"samovar alias", str(SCHEMA).encode(), decoder.encode(), bytes.fromhex(file))
