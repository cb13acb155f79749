"""Making the embeddings that no tier has: in batches, and each by one process only."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from samovar.cache.counts import Counts
from samovar.cache.entry import Entry
from samovar.cache.locks import Lock
from samovar.cache.precision import Precision
from samovar.cache.stack import Stack, log
from samovar.embedding import Embedding
from samovar.errors import CacheError, PluginError
from samovar.fingerprint import Fingerprint

if TYPE_CHECKING:
    from samovar.image import Image
    from samovar.protocols import Segmenter

__all__ = ["ENCODER", "Encoding"]

ENCODER = "encoder"
"""The name under which encodes are counted: the slowest tier of all."""

PATIENCE = 600.0
"""Seconds to wait, with nothing left to do here, for images that others are encoding, before doing it here as well."""


class Encoding:
    """One call's work: encode `wanted` (key → image), unless another process is faster.

    Args:
        always: keep every embedding in every tier, also where it does not pay.
        make_lock: the lock, between processes, of whoever encodes a key; None where there is nothing to share.
        landed: told of each embedding as soon as it is there.
    """

    def __init__(
        self,
        stack: Stack,
        segmenter: Segmenter,
        *,
        model: str,
        device: str,
        precision: Precision,
        batch: int,
        always: bool,
        make_lock: Callable[[str], Lock] | None,
        landed: Callable[[str, Embedding], None],
    ) -> None:
        self.stack = stack
        self.segmenter = segmenter
        self.model = model
        self.device = device
        self.precision: Precision = precision
        self.batch = batch
        self.always = always
        self.make_lock = make_lock
        self.landed = landed
        self.seconds = 0.0
        self.encoded: set[str] = set()
        self._locks: dict[str, Lock] = {}

    def run(self, wanted: Mapping[str, Image]) -> None:
        """Land every one of `wanted`. Raises whatever the segmenter raises."""
        left = dict(wanted)
        deadline = time.monotonic() + PATIENCE
        pause = 0.002
        while left:
            # Locks are never held while waiting for others: so two processes cannot wait for each other.
            before = len(left)
            for keys in _chunks(list(left), self.batch):
                landed = self._attempt({key: left[key] for key in keys}, force=time.monotonic() > deadline)
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
        with self._locked(images, force=force) as free:
            missing = {}
            for key in free:
                # Since the lookup that missed, another thread or process may have made it.
                entry = self.stack.find(key, self.model, self.device, again=True)
                if entry is not None:
                    self.landed(key, entry.unpack())
                else:
                    missing[key] = images[key]
            if missing:
                self._encode(missing)
        return free

    def _encode(self, images: Mapping[str, Image]) -> None:
        began, stopwatch = time.perf_counter(), self.stack.stopwatch(self.device)
        embeddings = encode_checked(self.segmenter, list(images.values()))
        seconds = time.perf_counter() - began
        stopwatch.stop()
        self.seconds += seconds
        self.stack.counter.add(ENCODER, self.model, Counts(puts=len(images), spent=seconds))
        for key, embedding in zip(images, embeddings):
            self.encoded.add(key)
            published = self._publish(key, embedding, seconds / len(images), lambda: stopwatch.seconds() / len(images))
            self.landed(key, published)

    def _publish(self, key: str, embedding: Embedding, cost: float, device_cost: Callable[[], float]) -> Embedding:
        adopted = self.stack.adopt(
            embedding,
            key,
            self.device,
            model=self.model,
            precision=self.precision,
            cost=cost,
            device_cost=device_cost,
            always=self.always,
        )
        if adopted is not None:
            return adopted.unpack()
        try:
            entry = Entry.pack(embedding, key, model=self.model, precision=self.precision, cost=cost)
            entry = replace(entry, cost=max(cost, device_cost()))  # the device is done: its tensors have been fetched
        except CacheError as error:
            log.warning("an embedding of %s is not kept: %s", self.model, error)
            return embedding
        return self.stack.publish(entry, self.device, always=self.always).unpack()

    @contextmanager
    def _locked(self, keys: Mapping[str, object], *, force: bool) -> Iterator[list[str]]:
        """Those of `keys` whose locks could be taken, held until the end; all of them where there are no locks."""
        held: list[Lock] = []
        free = []
        try:
            for key in keys:
                lock = self._take(key)
                if lock is not None:
                    held.append(lock)
                if lock is not None or force or self.make_lock is None:
                    free.append(key)
            yield free
        finally:
            self.stack.when_written(lambda: _release(held))

    def _take(self, key: str) -> Lock | None:
        if self.make_lock is None:
            return None
        try:
            # The same at every attempt: one whose holder has died may be known by having been watched for a while.
            lock = self._locks[key] = self._locks.get(key) or self.make_lock(key)
            return lock if lock.try_acquire() else None
        except OSError:
            self.make_lock = None  # the folder is read-only, full or gone: every process for itself
            return None


def _release(locks: Sequence[Lock]) -> None:
    for lock in locks:
        lock.release(remove=True)


def encode_checked(segmenter: Segmenter, images: Sequence[Image]) -> list[Embedding]:
    """`segmenter.encode(images)`. Raises PluginError when what comes back cannot be the embeddings of those images."""
    embeddings = segmenter.encode(images)
    if len(embeddings) != len(images):
        raise PluginError(f"a segmenter must give one embedding an image; got {len(embeddings)} for {len(images)}")
    expected = Fingerprint.of(segmenter.fingerprint).encoder
    for embedding in embeddings:
        if embedding.fingerprint != expected:
            raise PluginError(
                f"a segmenter's embeddings must carry its encoder's fingerprint {expected!r:.40}; "
                f"got {embedding.fingerprint!r:.40}"
            )
    return embeddings


def _chunks(keys: list[str], size: int) -> Iterator[list[str]]:
    return (keys[start : start + size] for start in range(0, len(keys), size))
