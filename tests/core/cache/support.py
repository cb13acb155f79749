"""A small segmenter whose embeddings can be told to be right or wrong, and images to give it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from samovar import DecodeOptions, Embedding, Image, Masks, Prompts
from samovar.cache import Entry
from samovar.types import Kind

__all__ = ["PixelSegmenter", "entry_of", "picture", "pictures"]


class PixelSegmenter:
    """Its embedding holds a hash of shape and pixels, kept exactly, and a coarse picture, which may be rounded.

    Args:
        fingerprint: of its weights, as it were.
        log: a file that gets a line an encoded image, from whatever process.
        seconds: that encoding an image takes.
        padding: bytes by which to make embeddings larger.
    """

    prompt_kinds: frozenset[Kind] = frozenset({"box"})

    def __init__(
        self, fingerprint: str = "pixels-1", *, log: Path | None = None, seconds: float = 0.0, padding: int = 0
    ) -> None:
        self.fingerprint = fingerprint
        self.log = log
        self.seconds = seconds
        self.padding = padding
        self.encoded: list[str] = []

    def encode(self, images: Sequence[Image]) -> list[Embedding]:
        time.sleep(self.seconds * len(images))
        self.encoded += [image.name for image in images]
        if self.log is not None:
            fd = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, "".join(f"{self.code(image).tobytes().hex()}\n" for image in images).encode())
            os.close(fd)
        return [self._embed(image) for image in images]

    def _embed(self, image: Image) -> Embedding:
        rows = np.array_split(image.pixels.astype(np.float32), 8)
        coarse = np.array([row.mean(axis=(0, 1)) if row.size else np.zeros(3) for row in rows], np.float32)
        tensors = {"code": self.code(image), "coarse": coarse}
        if self.padding:
            seed = int.from_bytes(self.code(image).tobytes()[:4], "little")
            tensors["padding"] = np.random.default_rng(seed).integers(0, 256, self.padding, np.uint8)
        return Embedding(tensors, image.width, image.height, self.fingerprint, compressible=frozenset({"coarse"}))

    def code(self, image: Image) -> NDArray[np.uint8]:
        """What the exact tensor of that image must be."""
        pixels = image.pixels
        given = f"{self.fingerprint} {pixels.shape}".encode() + pixels.tobytes()
        return np.frombuffer(blake3(given).digest(), np.uint8)

    def made(self, embedding: Embedding, image: Image) -> bool:
        """Whether `embedding` is what this segmenter makes of `image`."""
        want = self._embed(image)
        near = np.allclose(embedding.tensors["coarse"], want.tensors["coarse"], rtol=1e-3, atol=1e-3)
        exact = [name for name in want.tensors if name != "coarse"]
        return (
            near
            and all(np.array_equal(embedding.tensors[name], want.tensors[name]) for name in exact)
            and (embedding.width, embedding.height) == (image.width, image.height)
            and embedding.fingerprint == self.fingerprint
        )

    def decode(
        self, embeddings: Sequence[Embedding], prompts: Sequence[Prompts], options: DecodeOptions
    ) -> list[Masks]:
        return [Masks.empty(embedding.width, embedding.height) for embedding in embeddings]

    def decode_bytes(self, width: int, height: int) -> int:
        return 1


def picture(seed: int, width: int = 24, height: int = 16) -> Image:
    """A small picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image(pixels, name=f"picture-{seed}")


def pictures(count: int) -> list[Image]:
    """`count` different ones."""
    return [picture(seed) for seed in range(count)]


def entry_of(seed: int, *, nbytes: int = 1024, cost: float = 1.0, key: str | None = None) -> Entry:
    """An entry with one tensor of `nbytes` bytes."""
    tensor = np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)
    embedding = Embedding({"tensor": tensor}, 24, 16, "pixels-1")
    return Entry.pack(embedding, key or f"{seed:064x}", model="pixels", precision="exact", cost=cost)
