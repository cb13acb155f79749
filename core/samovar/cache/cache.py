"""`Cache`: looks embeddings up in its tiers and encodes what none of them has, each image once."""

from __future__ import annotations

import os
import random
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from samovar.cache.concurrency import PrefetchQueue, SingleFlight
from samovar.cache.entry import Entry, alias_key, entry_key
from samovar.cache.index import AliasTable
from samovar.cache.stats import ENCODER, Counter, Counts
from samovar.cache.store import Admission, TieredStore, log
from samovar.cache.tensors import Precision
from samovar.cache.tiers import CacheTier
from samovar.deprecation import renamed_keywords
from samovar.embedding import Embedding
from samovar.errors import CacheError, InputError, PluginError
from samovar.events import EvictEvent
from samovar.fingerprint import Fingerprint
from samovar.protocols import device_of

if TYPE_CHECKING:
    from samovar.cache.config import CacheConfig
    from samovar.cache.disk import Claim, DiskTier
    from samovar.cache.stats import TierStats, VerifyReport
    from samovar.image import Image
    from samovar.protocols import Segmenter

__all__ = ["Cache", "Lookup"]

T = TypeVar("T")

PATIENCE = 600.0
"""Seconds to wait, with nothing left to do here, for images that others are encoding, before doing it here as well."""


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
        aliases: remembers what pixels a file holds, so that a hit never decodes it; by default in the folder of `disk`.
        precision: how tensors are kept that their segmenter calls compressible: "exact", "half" or "int8".
        admission: "measured": a tier is given only what is faster to read back from it than to encode again, as
            measured; "always": it is given everything.
        disk: the tier, also among `tiers`, whose folder holds claims and statistics for all processes.
        on_evict: told of every entry that leaves a tier.
    """

    @renamed_keywords(placement="admission")
    def __init__(
        self,
        tiers: Sequence[CacheTier] = (),
        *,
        aliases: AliasTable | None = None,
        precision: Precision = "half",
        admission: Admission = "measured",
        disk: DiskTier | None = None,
        on_evict: Callable[[EvictEvent], object] | None = None,
    ) -> None:
        self.tiers = tuple(tiers)
        self.precision: Precision = precision
        self.admission: Admission = admission
        self.disk = disk
        self.store = TieredStore(self.tiers, on_evict)
        self._aliases = aliases or AliasTable(None if disk is None else disk.index)
        self.flights = SingleFlight()
        self._hints = PrefetchQueue()
        if disk is not None:
            weakref.finalize(self, _write_down, disk, self.store.counter)

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

    @renamed_keywords(placement="admission")
    def get_or_encode(
        self,
        images: Sequence[Image],
        segmenter: Segmenter,
        *,
        encode_batch: int = 8,
        model: str | None = None,
        admission: Admission | None = None,
    ) -> Lookup:
        """The embeddings of `images`; those that no tier has are encoded, `encode_batch` at a time, and kept.

        Of all threads and processes that want the same embedding at once, one encodes it and the others wait. A cache
        that cannot be written to or read from never fails the call: it only goes slower.

        Args:
            model: what statistics call the segmenter.
            admission: instead of the cache's own.

        Raises:
            ImageError: an image cannot be read.
            PluginError: the segmenter answers with something that cannot be the images' embeddings.
        """
        if encode_batch < 1:
            raise InputError(f"encode_batch must be at least 1; got {encode_batch}")
        if not self.tiers:
            return _encode_all(images, segmenter, encode_batch)
        model = model or _encoder(segmenter)[:16]
        device = device_of(segmenter)
        keys = [self.key(image, segmenter) for image in images]
        found: dict[str, Embedding] = {}
        missing: dict[str, Image] = {}
        for key, image in zip(keys, images):
            if key not in found and key not in missing:
                entry = self.store.find(key, model, device)
                if entry is not None:
                    found[key] = entry.unpack()
                else:
                    missing[key] = image
        encoded: set[str] = set()
        seconds = 0.0
        if missing:
            always = (admission or self.admission) == "always"
            encoding = _Encoding(self, segmenter, model, device, encode_batch, always, found)
            while missing:
                mine, theirs = self.flights.claim(missing)
                try:
                    encoding.run({key: missing[key] for key in mine})
                finally:
                    for key in mine:
                        self.flights.land(key, found.get(key))
                for key, flight in theirs.items():
                    embedding = flight.result()
                    if embedding is not None:
                        self.store.follow(key, device)
                        found[key] = embedding
                missing = {key: image for key, image in missing.items() if key not in found}
            encoded, seconds = encoding.encoded, encoding.seconds
        self.flush(force=False)
        hits = tuple(key not in encoded for key in keys)
        return Lookup([found[key] for key in keys], hits, len(encoded), seconds)

    def key(self, image: Image, segmenter: Segmenter) -> str:
        """The key of an image's embedding. Decodes the image unless its file has been met before. Raises ImageError."""
        return entry_key(self._pixels(image, decode=True) or "", _encoder(segmenter), self.precision)

    def holds(self, image: Image, segmenter: Segmenter) -> bool:
        """Whether the embedding is there, as far as can be told without decoding the image. Raises ImageError."""
        return self._is_in(self.store.holds, image, segmenter)

    def keeps(self, image: Image, segmenter: Segmenter) -> bool:
        """As `holds`, but by a tier that outlasts the process, where there is one. Raises ImageError."""
        return self._is_in(self.store.keeps, image, segmenter)

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
        model, device = model or _encoder(segmenter)[:16], device_of(segmenter)
        key = entry_key(pixels, _encoder(segmenter), self.precision)
        if not self.store.holds(key, model, device, in_memory=in_memory):
            return None
        entry = self.store.find(key, model, device)
        self.flush(force=False)
        return None if entry is None else entry.unpack()

    def check_writable(self, segmenter: Segmenter) -> None:
        """Raise CacheError if what was encoded last could not be kept by any tier that outlasts the process."""
        trouble = self.store.trouble(device_of(segmenter)) if self.tiers else ""
        if trouble:
            raise CacheError(f"what is encoded cannot be kept: {trouble}; make room, or name another folder")

    def prefetch(self, images: Sequence[Image], segmenter: Segmenter, *, model: str | None = None) -> None:
        """A hint that these images come next: their embeddings are fetched or encoded in the background, in order.

        A few at most wait their turn; later hints displace earlier ones. Errors are kept for whoever asks in earnest.
        """

        def fetch(image: Image) -> Callable[[], object]:
            return lambda: self.get_or_encode([image], segmenter, model=model)

        if self.tiers:
            self._hints.put([fetch(image) for image in images])

    def wait_for_prefetch(self, seconds: float | None = None) -> bool:
        """Wait until every hint is followed or forgotten; whether that was within `seconds`."""
        return self._hints.wait(seconds)

    def stats(self) -> list[TierStats]:
        """What every tier holds and has done, per model; over all processes where there is a disk tier."""
        from samovar.cache.stats import stats

        self.flush()
        return stats(self.tiers, self.store.counter, self.disk)

    def verify(self, progress: Callable[[int], object] = lambda done: None) -> VerifyReport:
        """Read and check every entry; damaged ones are dropped and counted. Raises CacheError."""
        from samovar.cache.stats import verify

        return self._managing(lambda: verify(self.tiers, self.disk, progress))

    def prune(self, max_bytes: int | None = None, older_than: float | None = None) -> tuple[int, int]:
        """Evict the least valuable entries of every tier down to `max_bytes`, and those unused for so many seconds.

        Returns how many entries were evicted and their bytes. Raises CacheError.
        """
        from samovar.cache.stats import prune

        return self._managing(lambda: prune(self.tiers, self.store.evicted, max_bytes, older_than))

    def clear(self) -> tuple[int, int]:
        """Drop everything, statistics included; how many entries and bytes that was. Raises CacheError."""
        from samovar.cache.stats import clear

        dropped = self._managing(lambda: clear(self.tiers, self.disk))
        self._aliases.forget()
        self.store.counter.take()
        return dropped

    def flush(self, *, force: bool = True) -> None:
        """Write statistics down for other processes to see; done about once a second anyway. Never fails."""
        if self.disk is not None and (force or self.disk.flush_is_due()):
            _write_down(self.disk, self.store.counter, wait=force)

    def close(self) -> None:
        """Stop prefetching, and finish writing embeddings and statistics down. The cache stays usable."""
        self._hints.close()
        self.store.wait()
        self.flush()

    def _managing(self, work: Callable[[], T]) -> T:
        """Look after all entries: those still being written are waited for."""
        self.store.wait()
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
        key = entry_key(pixels, _encoder(segmenter), self.precision)
        return tiers(key, _encoder(segmenter)[:16], device_of(segmenter))


class _Encoding:
    """One call's work: make the embeddings that no tier has, in batches, and each by one process only.

    Args:
        always: keep every embedding in every tier, also where it is not admitted.
        found: gets each embedding as soon as it is there.
    """

    def __init__(
        self,
        cache: Cache,
        segmenter: Segmenter,
        model: str,
        device: str,
        batch: int,
        always: bool,
        found: dict[str, Embedding],
    ) -> None:
        self.cache, self.store = cache, cache.store
        self.segmenter, self.model, self.device = segmenter, model, device
        self.batch, self.always, self.found = batch, always, found
        self.claiming = cache.disk is not None
        self.seconds = 0.0
        self.encoded: set[str] = set()

    def run(self, wanted: Mapping[str, Image]) -> None:
        """Land every one of `wanted` (key → image), made here or by others. Raises what the segmenter raises."""
        left = dict(wanted)
        deadline = time.monotonic() + PATIENCE
        pause = 0.002
        while left:
            # Claims are never held while waiting for others: so two processes cannot wait for each other.
            before = len(left)
            keys = list(left)
            for start in range(0, len(keys), self.batch):
                images = {key: left[key] for key in keys[start : start + self.batch]}
                landed = self._attempt(images, force=time.monotonic() > deadline)
                for key in landed:
                    del left[key]
                if landed:
                    deadline = time.monotonic() + PATIENCE
            if not left:
                return
            pause = 0.002 if len(left) < before else min(pause * 1.5, 0.05)
            time.sleep(pause * random.uniform(0.5, 1.5))

    def _attempt(self, images: Mapping[str, Image], *, force: bool) -> list[str]:
        """Land those of `images` that nobody else is encoding; their keys."""
        with self._claimed(images, force=force) as free:
            missing = {}
            for key in free:
                # Since the lookup that missed, another thread or process may have made it.
                entry = self.store.find(key, self.model, self.device, again=True)
                if entry is not None:
                    self._land(key, entry.unpack())
                else:
                    missing[key] = images[key]
            if missing:
                self._encode(missing)
        return free

    def _encode(self, images: Mapping[str, Image]) -> None:
        began, stopwatch = time.perf_counter(), self.store.stopwatch(self.device)
        embeddings = encode_checked(self.segmenter, list(images.values()))
        seconds = time.perf_counter() - began
        if stopwatch is not None:
            stopwatch.stop()
        self.seconds += seconds
        self.store.counter.add(ENCODER, self.model, Counts(puts=len(images), spent=seconds))

        def device_cost() -> float:
            return 0.0 if stopwatch is None else stopwatch.seconds() / len(images)

        for key, embedding in zip(images, embeddings):
            self.encoded.add(key)
            self._land(key, self._publish(key, embedding, seconds / len(images), device_cost))

    def _publish(self, key: str, embedding: Embedding, cost: float, device_cost: Callable[[], float]) -> Embedding:
        precision = self.cache.precision
        adopted = self.store.adopt(
            embedding,
            key,
            self.device,
            model=self.model,
            precision=precision,
            cost=cost,
            device_cost=device_cost,
            always=self.always,
        )
        if adopted is not None:
            return adopted.unpack()
        try:
            entry = Entry.pack(embedding, key, model=self.model, precision=precision, cost=cost)
        except CacheError as error:
            log.warning("an embedding of %s is not kept: %s", self.model, error)
            return embedding
        entry = replace(entry, cost=max(cost, device_cost()))  # the device is done: its tensors have been fetched
        return self.store.publish(entry, self.device, always=self.always).unpack()

    def _land(self, key: str, embedding: Embedding) -> None:
        self.found[key] = embedding
        self.cache.flights.land(key, embedding)

    @contextmanager
    def _claimed(self, keys: Mapping[str, object], *, force: bool) -> Iterator[list[str]]:
        """Those of `keys` that could be claimed, held until the end; all of them where there are no claims."""
        held: list[Claim] = []
        free = []
        try:
            for key in keys:
                claim = self._claim(key)
                if claim is not None:
                    held.append(claim)
                if claim is not None or force or not self.claiming:
                    free.append(key)
            yield free
        finally:
            self.store.when_written(lambda: _release(held))

    def _claim(self, key: str) -> Claim | None:
        if self.cache.disk is None or not self.claiming:
            return None
        try:
            claim = self.cache.disk.claim(key)
            return claim if claim.acquire() else None
        except OSError:
            self.claiming = False  # the folder is read-only, full or gone: every process for itself
            return None


def _release(claims: Sequence[Claim]) -> None:
    for claim in claims:
        claim.release()


def _write_down(disk: DiskTier, counter: Counter, *, wait: bool = True) -> None:
    """Move what was counted to the index; also when a cache is let go, and when the process ends."""
    pending = counter.take()
    written = False
    with suppress(OSError):
        written = disk.flush(pending, wait=wait)
    if not written:
        counter.give_back(pending)


def encode_checked(segmenter: Segmenter, images: Sequence[Image]) -> list[Embedding]:
    """`segmenter.encode(images)`. Raises PluginError when what comes back cannot be the embeddings of those images."""
    embeddings = segmenter.encode(images)
    if len(embeddings) != len(images):
        raise PluginError(f"a segmenter must give one embedding an image; got {len(embeddings)} for {len(images)}")
    expected = _encoder(segmenter)
    for embedding in embeddings:
        if embedding.fingerprint != expected:
            raise PluginError(
                f"a segmenter's embeddings must carry its encoder's fingerprint {expected!r:.40}; "
                f"got {embedding.fingerprint!r:.40}"
            )
    return embeddings


def _encode_all(images: Sequence[Image], segmenter: Segmenter, batch: int) -> Lookup:
    embeddings: list[Embedding] = []
    began = time.perf_counter()
    for start in range(0, len(images), batch):
        embeddings += encode_checked(segmenter, images[start : start + batch])
    return Lookup(embeddings, (False,) * len(images), len(images), time.perf_counter() - began)


def _encoder(segmenter: Segmenter) -> str:
    """What embeddings depend on; another decoder on the same encoder finds them, too."""
    return Fingerprint.of(segmenter.fingerprint).encoder
