"""`Cache`: looks embeddings up in its tiers and encodes what none of them has, each image once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from samovar.cache.alias import AliasTable
from samovar.cache.encoding import Encoding, encode_checked
from samovar.cache.flight import Flights
from samovar.cache.guard import Placement
from samovar.cache.keys import alias_key, entry_key
from samovar.cache.precision import Precision
from samovar.cache.prefetch import Ahead
from samovar.cache.stack import Stack
from samovar.cache.tiers import CacheTier
from samovar.embedding import Embedding
from samovar.errors import CacheError, InputError
from samovar.events import EvictEvent
from samovar.fingerprint import Fingerprint
from samovar.protocols import device_of

if TYPE_CHECKING:
    from samovar.cache.config import CacheConfig
    from samovar.cache.counts import Counter
    from samovar.cache.disk import DiskTier
    from samovar.cache.maintenance import Check, TierStats
    from samovar.image import Image
    from samovar.protocols import Segmenter

__all__ = ["Cache", "Lookup"]

T = TypeVar("T")


@dataclass(frozen=True)
class Lookup:
    """What `Cache.get_or_encode` answers.

    Attributes:
        embeddings: one an image, in order.
        hits: for each image, whether it took no encoding by this call.
        encoded: how many embeddings this call computed (an image that is given twice is encoded once).
        encode_seconds: wall time that this call spent in `Segmenter.encode`.
    """

    embeddings: list[Embedding]
    hits: tuple[bool, ...]
    encoded: int = 0
    encode_seconds: float = 0.0


class Cache:
    """Embeddings by content, over tiers from fast to slow. Any number of threads may use one cache.

    Usually made by `Cache.open`.

    Args:
        tiers: from fast to slow; none: nothing is kept and every image is encoded.
        aliases: remembers what pixels a file holds, so that a hit never decodes it.
        precision: how tensors are kept that their segmenter calls compressible: "exact", "half" or "int8".
        placement: "measured": a tier is given only what is faster to read back from it than to encode again, as
            measured; "always": it is given everything.
        disk: the tier, also among `tiers`, whose folder holds locks and statistics for all processes.
        on_evict: told of every entry that leaves a tier.
    """

    def __init__(
        self,
        tiers: Sequence[CacheTier] = (),
        *,
        aliases: AliasTable | None = None,
        precision: Precision = "half",
        placement: Placement = "measured",
        disk: DiskTier | None = None,
        on_evict: Callable[[EvictEvent], object] | None = None,
    ) -> None:
        self.tiers = tuple(tiers)
        self.precision: Precision = precision
        self.placement: Placement = placement
        self.disk = disk
        self.stack = Stack(self.tiers, on_evict)
        self._aliases = aliases or AliasTable(None)
        self._flights = Flights()
        self._ahead: Ahead[Callable[[], object]] = Ahead(lambda work: work())
        if disk is not None:
            weakref.finalize(self, _write_down, disk, self.stack.counter)

    @classmethod
    def open(cls, spec: Cache | CacheConfig | str | os.PathLike[str] | None = "auto") -> Cache:
        """The cache that `spec` describes. The same description gives the same cache throughout a process.

        Args:
            spec: "auto" (memory and disk, see `CacheConfig`), "off" or None (nothing is kept), the folder of the disk
                tier, a `CacheConfig`, or a cache, which is returned.

        Raises:
            CacheError: a setting makes no sense.
        """
        # Late, and upwards: only opening by names and settings needs the registry of plugins, which knows caches.
        from samovar.caching import open_cache

        return spec if isinstance(spec, Cache) else open_cache(spec)

    def get_or_encode(
        self,
        images: Sequence[Image],
        segmenter: Segmenter,
        *,
        encode_batch: int = 8,
        model: str | None = None,
        placement: Placement | None = None,
    ) -> Lookup:
        """The embeddings of `images`; those that no tier has are encoded, `encode_batch` at a time, and kept.

        Of all threads and processes that want the same embedding at once, one encodes it and the others wait. A cache
        that cannot be written to or read from never fails the call: it only goes slower.

        Args:
            model: what statistics call the segmenter.
            placement: instead of the cache's own.

        Raises:
            ImageError: an image cannot be read.
            PluginError: the segmenter answers with something that cannot be the images' embeddings.
        """
        if encode_batch < 1:
            raise InputError(f"encode_batch must be at least 1; got {encode_batch}")
        if not self.tiers:
            return _encode_all(images, segmenter, encode_batch)
        model = model or _made_by(segmenter)[:16]
        device = device_of(segmenter)
        self.stack.prepare_with(segmenter, device)
        keys = [self.key(image, segmenter) for image in images]
        found: dict[str, Embedding] = {}
        missing: dict[str, Image] = {}
        for key, image in zip(keys, images):
            if key not in found and key not in missing:
                entry = self.stack.find(key, model, device)
                if entry is not None:
                    found[key] = entry.unpack()
                else:
                    missing[key] = image
        encoded: set[str] = set()
        seconds = 0.0
        while missing:
            mine, theirs = self._flights.claim(missing)
            try:
                if mine:
                    always = (placement or self.placement) == "always"
                    encoding = self._encoding(segmenter, model, device, encode_batch, always, found)
                    encoding.run({key: missing[key] for key in mine})
                    encoded |= encoding.encoded
                    seconds += encoding.seconds
            finally:
                for key in mine:
                    self._flights.land(key, found.get(key))
            for key, flight in theirs.items():
                embedding = flight.wait()
                if embedding is not None:
                    self.stack.follow(key, device)
                    found[key] = embedding
            missing = {key: image for key, image in missing.items() if key not in found}
        self.flush(force=False)
        hits = tuple(key not in encoded for key in keys)
        return Lookup([found[key] for key in keys], hits, len(encoded), seconds)

    def key(self, image: Image, segmenter: Segmenter) -> str:
        """The key of an image's embedding. Decodes the image unless its file has been met before. Raises ImageError."""
        return entry_key(self._pixels(image, decode=True) or "", _made_by(segmenter), self.precision)

    def holds(self, image: Image, segmenter: Segmenter) -> bool:
        """Whether the embedding is there, as far as can be told without decoding the image. Raises ImageError."""
        return self._is_in(self.stack.holds, image, segmenter)

    def find(
        self, image: Image, segmenter: Segmenter, *, model: str | None = None, in_memory: bool = False
    ) -> Embedding | None:
        """The embedding if it is there, as far as can be told without decoding the image. Raises ImageError.

        Args:
            model: what statistics call the segmenter; a miss is not counted, for whoever encodes will.
            in_memory: only where it takes no reading from a disk or a network.
        """
        pixels = self._pixels(image, decode=False) if self.tiers else None
        if pixels is None:
            return None
        model, device = model or _made_by(segmenter)[:16], device_of(segmenter)
        key = entry_key(pixels, _made_by(segmenter), self.precision)
        if not self.stack.holds(key, model, device, in_memory=in_memory):
            return None
        self.stack.prepare_with(segmenter, device)
        entry = self.stack.find(key, model, device)
        self.flush(force=False)
        return None if entry is None else entry.unpack()

    def keeps(self, image: Image, segmenter: Segmenter) -> bool:
        """As `holds`, but by a tier that outlasts the process, where there is one. Raises ImageError."""
        return self._is_in(self.stack.keeps, image, segmenter)

    def check_writable(self, segmenter: Segmenter) -> None:
        """Raise CacheError if what was encoded last could not be kept by any tier that outlasts the process."""
        trouble = self.stack.trouble(device_of(segmenter)) if self.tiers else ""
        if trouble:
            raise CacheError(f"what is encoded cannot be kept: {trouble}; make room, or name another folder")

    def prefetch(self, images: Sequence[Image], segmenter: Segmenter, *, model: str | None = None) -> None:
        """A hint that these images come next: their embeddings are fetched or encoded in the background, in order.

        A few at most wait their turn; later hints displace earlier ones. Errors are kept for whoever asks in earnest.
        """
        if self.tiers:
            self._ahead.put([_one(self, image, segmenter, model) for image in images])

    def wait_for_prefetch(self, seconds: float | None = None) -> bool:
        """Wait until every hint is followed or forgotten; whether that was within `seconds`."""
        return self._ahead.wait(seconds)

    def stats(self) -> list[TierStats]:
        """What every tier holds and has done, per model; over all processes where there is a disk tier."""
        from samovar.cache.maintenance import stats

        return stats(self)

    def verify(self, progress: Callable[[int], object] = lambda done: None) -> Check:
        """Read and check every entry; damaged ones are dropped and counted. Raises CacheError."""
        from samovar.cache.maintenance import verify

        return self._managing(lambda: verify(self, progress))

    def prune(self, max_bytes: int | None = None, older_than: float | None = None) -> tuple[int, int]:
        """Drop the least valuable entries of every tier down to `max_bytes`, and those unused for so many seconds.

        Returns how many entries were dropped and their bytes. Raises CacheError.
        """
        from samovar.cache.maintenance import prune

        return self._managing(lambda: prune(self, max_bytes, older_than))

    def clear(self) -> tuple[int, int]:
        """Drop everything, statistics included; how many entries and bytes that was. Raises CacheError."""
        from samovar.cache.maintenance import clear

        return self._managing(lambda: clear(self))

    def forget(self) -> None:
        """Forget what is known of files and what was counted and not yet written down."""
        self._aliases.forget()
        self.stack.counter.take()

    def flush(self, *, force: bool = True) -> None:
        """Write statistics down for other processes to see; done about once a second anyway. Never fails."""
        if self.disk is None or not (force or self.disk.flush_is_due()):
            return
        _write_down(self.disk, self.stack.counter, wait=force)

    def close(self) -> None:
        """Stop prefetching, and finish writing embeddings and statistics down. The cache stays usable."""
        self._ahead.close()
        self.stack.wait()
        self.flush()

    def _managing(self, work: Callable[[], T]) -> T:
        """Look after all entries: those still being written are waited for."""
        self.stack.wait()
        try:
            return work()
        except OSError as error:
            raise CacheError(f"the cache cannot be used as asked: {error}; check its folder") from error

    def _pixels(self, image: Image, *, decode: bool) -> str | None:
        """The digest of the image's pixels; None if only decoding could tell and `decode` is False."""
        file = image.file_digest()
        if file is None:
            return image.digest
        alias = alias_key(file, image.decoder)
        pixels = self._aliases.get(alias)
        if pixels is None and decode:
            pixels = image.digest
            self._aliases.put(alias, pixels)
        return pixels

    def _is_in(self, tiers: Callable[[str, str, str], bool], image: Image, segmenter: Segmenter) -> bool:
        pixels = self._pixels(image, decode=False) if self.tiers else None
        if pixels is None:
            return False
        key = entry_key(pixels, _made_by(segmenter), self.precision)
        return tiers(key, _made_by(segmenter)[:16], device_of(segmenter))

    def _encoding(
        self, segmenter: Segmenter, model: str, device: str, batch: int, always: bool, found: dict[str, Embedding]
    ) -> Encoding:
        def landed(key: str, embedding: Embedding) -> None:
            found[key] = embedding
            self._flights.land(key, embedding)

        return Encoding(
            self.stack,
            segmenter,
            model=model,
            device=device,
            precision=self.precision,
            batch=batch,
            always=always,
            make_lock=self.disk.lock if self.disk is not None else None,
            landed=landed,
        )


def _write_down(disk: DiskTier, counter: Counter, *, wait: bool = True) -> None:
    """Move what was counted to the ledger; also when a cache is let go, and when the process ends."""
    pending = counter.take()
    written = False
    with suppress(OSError):
        written = disk.flush(pending, wait=wait)
    if not written:
        counter.give_back(pending)


def _encode_all(images: Sequence[Image], segmenter: Segmenter, batch: int) -> Lookup:
    import time

    embeddings: list[Embedding] = []
    began = time.perf_counter()
    for start in range(0, len(images), batch):
        embeddings += encode_checked(segmenter, images[start : start + batch])
    return Lookup(embeddings, (False,) * len(images), len(images), time.perf_counter() - began)


def _one(cache: Cache, image: Image, segmenter: Segmenter, model: str | None) -> Callable[[], object]:
    return lambda: cache.get_or_encode([image], segmenter, model=model)


def _made_by(segmenter: Segmenter) -> str:
    """What embeddings of this segmenter depend on."""
    return Fingerprint.of(segmenter.fingerprint).encoder
