"""The disk tier: one file an entry in a folder that every process and tool of one user shares.

    FOLDER/CACHEDIR.TAG                    tells backup programs to pass by
    FOLDER/v2/entries/ab/abcdef….emb       entries, by key
    FOLDER/v2/index.sqlite                 what is here, its worth, aliases, statistics: see `samovar.cache.index`
    FOLDER/v2/claims/abcdef….lock          locked by whoever encodes that image
    FOLDER/v2/tmp/…                        files being written

Readers take no lock. An entry appears by a rename and is never written to again, so a reader sees all of it or nothing.
A process checks the tensors of each version of a file the first time it reads it.

The index and the claims need a file system with locks. On a network's, and on one without locks, they lie in a folder
of this machine instead, made anew from the entries where it is lost: entries are shared with other machines then, as by
the shared tier, while statistics and claims are each machine's own.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType, TracebackType

from samovar.cache.entry import (
    SCHEMA,
    CorruptEntryError,
    Entry,
    EntryInfo,
    Stamp,
    dump,
    fields_digest,
    file_info,
    parse_header,
    read,
)
from samovar.cache.index import Index
from samovar.cache.stats import Counts
from samovar.cache.tiers import Evicted, TierTraits, check_budget

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows, whose file systems have locks
    fcntl = None

__all__ = ["Claim", "DiskTier", "TemporaryFile", "lacks_locks", "sweep"]

FLUSH_SECONDS = 1.0
LOOK_SECONDS = 600.0
"""After so long the folder is looked through again: for what was lost to a kill, or put by another machine."""

INDEX = "index.sqlite"
HEAD = 1 << 16
_NEVER = (0, 0.0)
TRUSTED = 1 << 16
MOST = 20 << 30
"""Bytes of a disk tier whose size nobody set, at most."""

TAG = """Signature: 8a477f597d28d172789f06886806bc55
# This folder is the embedding cache of samovar: everything in it can be made again. See https://bford.info/cachedir/
"""


class DiskTier:
    """Entries as files.

    Args:
        folder: of the cache; made when something is first put.
        max_bytes: of entries, in all; evicting goes a fiftieth below it, so as not to start again at once. None for 20
            GiB or a quarter of what would be free without this cache, whichever is less.
        durable: force every entry onto the disk before it appears. Without it an entry may be torn by a power cut,
            which its checksum finds.
    """

    name = "disk"
    traits = TierTraits(shared=True, persistent=True)

    def __init__(self, folder: str | os.PathLike[str], max_bytes: int | None, *, durable: bool = False) -> None:
        check_budget(self.name, max_bytes)
        self.folder = Path(folder)
        self.root = self.folder / f"v{SCHEMA}"
        self.durable = durable
        self.on_evict: Callable[[Evicted], object] | None = None
        self._entries = f"{self.root}{os.sep}entries{os.sep}"
        self._max_bytes = max_bytes
        self._trusted: dict[str, Stamp] = {}
        self._flushed = time.monotonic()
        self._looked = _NEVER  # which index was last made to agree with the folder, and when
        self._state: Path | None = None
        self._index = Index(self.root / INDEX)

    # ----------------------------------------------------------------------------------------- the tier

    def get(self, key: str) -> Entry | None:
        """The entry, or None; a damaged one is dropped. Raises OSError."""
        try:
            entry, self._trusted[key] = read(self._name(key), key, self._trusted.get(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except CorruptEntryError:
            self._drop_damaged(key)
            return None
        self.index.use(key)
        if len(self._trusted) > TRUSTED:
            self.distrust()
        return entry

    def put(self, entry: Entry) -> list[Evicted]:
        """Publish `entry`; return what was evicted for it. One larger than the budget is declined. Raises OSError."""
        pieces = dump(entry)
        try:
            return self._publish(entry, pieces)
        except FileNotFoundError:  # the folder, or a part of it, has been deleted
            self._make_folders()
            return self._publish(entry, pieces)

    def delete(self, key: str) -> bool:
        """Drop the entry; whether there was one. Raises OSError."""
        there = self.contains(key)
        if there:
            self._unlink([key])
        return there

    def contains(self, key: str) -> bool:
        """Whether there is a file for the entry, without reading it."""
        return os.path.exists(self._name(key))  # noqa: PTH110  (pathlib takes a tenth of the time of a hit)

    def entries(self) -> Iterator[EntryInfo]:
        """What is here. Raises OSError."""
        known: Mapping[str, tuple[EntryInfo, float]] = {}
        with suppress(OSError):
            known = self.index.infos()
        for key, nbytes in self.files():
            row = known.get(key)
            info = row[0] if row is not None and row[0].nbytes == nbytes else self._look(key)
            if info is not None:
                yield info

    def evict(self, limit: int | None, *, unused_since: float | None = None) -> list[Evicted]:
        """See `samovar.cache.tiers.Evicts`. Needs no room: what the index cannot note it finds out later."""
        if not self.root.is_dir():
            return []
        with suppress(OSError):
            self.flush({})
        known: Mapping[str, tuple[EntryInfo, float]] = {}
        with suppress(OSError):
            known = self.index.infos()

        def worth(info: EntryInfo) -> float:
            return known[info.key][1] if info.key in known else max(info.cost, 1e-6) / max(info.nbytes, 1)

        infos = sorted(self.entries(), key=worth)
        old = [info for info in infos if unused_since is not None and info.used < unused_since]
        evicted = [Evicted(info, "old") for info in old]
        excess = -1 if limit is None else sum(info.nbytes for info in infos) - sum(one.nbytes for one in old) - limit
        for info in infos:
            if excess > 0 and info not in old:
                evicted.append(Evicted(info, "pruned"))
                excess -= info.nbytes
        self._unlink([one.info.key for one in evicted])
        return evicted

    # ------------------------------------------------------------------------ what only the disk tier does

    @property
    def state(self) -> Path:
        """The folder of the index and of claims. Raises OSError where the tier's own folder cannot be used."""
        return self._state or self._find_state()

    @property
    def index(self) -> Index:
        """What is known of the folder, by all processes."""
        if self._state is None:
            self._find_state()
        return self._index

    def _find_state(self) -> Path:
        if not self.root.is_dir():
            return self.root  # for now: there is nothing to read, and who writes makes it first
        state = self.root
        if lacks_locks(state):
            state = _local_folder() / fields_digest(os.fspath(self.root.absolute()).encode())[:16]
            state.mkdir(exist_ok=True)
        self._state, self._index.path = state, state / INDEX
        return state

    @property
    def max_bytes(self) -> int:
        """The budget. One that nobody set is worked out once, from what is free and what is here. Raises OSError."""
        if self._max_bytes is None:
            held = sum(nbytes for _, nbytes in self.files())
            self._max_bytes = min(MOST, (shutil.disk_usage(self.root).free + held) // 4)
        return self._max_bytes

    def claim(self, key: str) -> Claim:
        """The claim of whoever encodes that image, in any process. Raises OSError."""
        if not self.root.is_dir():
            self._make_folders()
        folder = self.state / "claims"
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
        return Claim(folder / f"{key}.lock")

    def distrust(self) -> None:
        """Check every file again when it is next read, also those that have not changed since they were."""
        self._trusted = {}

    def flush_is_due(self) -> bool:
        """Whether a second has passed since the last `flush`."""
        return time.monotonic() - self._flushed > FLUSH_SECONDS

    def flush(self, counts: Mapping[tuple[str, str], Counts], *, wait: bool = True) -> bool:
        """Write down uses, aliases and `counts`; whether there was where to. Raises OSError, as `Index.flush`."""
        self._flushed = time.monotonic()
        if not self.root.is_dir():
            return False
        self.index.flush(counts, wait=wait)
        return True

    def files(self) -> Iterator[tuple[str, int]]:
        """The key and the size of every file that by its name is an entry, good or damaged. Raises OSError."""
        for folder in _scan(self._entries):
            for file in sorted(_scan(folder.path), key=lambda file: file.name):
                key, suffix = os.path.splitext(file.name)  # noqa: PTH122  (for each of maybe 100,000)
                if suffix == ".emb" and key[:2] == folder.name:
                    with suppress(FileNotFoundError):
                        yield key, file.stat().st_size

    def tidy(self) -> int:
        """Remove what killed processes left behind, and make the index agree; how many files. Raises OSError."""
        if not self.root.is_dir():
            return 0
        self._looked = _NEVER
        with suppress(OSError):  # on a disk that is full
            self.index.write(self._look_through)
        return sweep(self.root / "tmp") + sweep(self.state / "claims")

    # ------------------------------------------------------------------------------------------- inside

    def _publish(self, entry: Entry, pieces: list[bytes | memoryview]) -> list[Evicted]:
        info = EntryInfo(entry.key, entry.model, sum(map(len, pieces)), entry.cost, used=time.time())
        if info.nbytes > self.max_bytes:
            return []
        path = Path(self._name(entry.key))
        with TemporaryFile(self.root / "tmp") as temporary:
            temporary.write(pieces, durable=self.durable)
            # Noted before it appears: killed in between, the index counts too much, never too little.
            evicted = self._account(info)
            path.parent.mkdir(exist_ok=True)
            temporary.publish(path)
            if (
                self.index.info(entry.key) is None
            ):  # another process looked through the folder, or evicted it, in between
                evicted += self._account(info)
        return evicted

    def _account(self, info: EntryInfo) -> list[Evicted]:
        try:
            return self.index.write(lambda db: self._make_room(db, info))
        except OSError:
            self._looked = _NEVER  # what was found in the folder is not written down either
            raise

    def _make_room(self, db: sqlite3.Connection, info: EntryInfo) -> list[Evicted]:
        """Note an entry, and evict what has no room beside it. Killed before that is committed, too much is counted."""
        self._look_through(db)
        self.index.note(db, info)
        room = min(self.max_bytes, self.max_bytes - self.max_bytes // 50 + info.nbytes)
        victims = self.index.victims(db, self.max_bytes, room, spare=info.key)
        for one in victims:
            Path(self._name(one.key)).unlink(missing_ok=True)
        self.index.forget(db, [one.key for one in victims], evicted=True)
        return [Evicted(one, "budget") for one in victims]

    def _look_through(self, db: sqlite3.Connection) -> None:
        """Make the index agree with the folder, once a process and now and then: whatever it lost is found again."""
        index, now = self.index.generation, time.monotonic()
        every = LOOK_SECONDS if self.state == self.root else LOOK_SECONDS / 10
        if self._looked[0] != index or now - self._looked[1] > every:
            self.index.reconcile(db, dict(self.files()), self._look)
            self._looked = (index, now)

    def _unlink(self, keys: Iterable[str]) -> None:
        """Delete those entries, then note it; where it cannot be noted, the folder is looked through another time."""
        keys = list(keys)
        for key in keys:
            Path(self._name(key)).unlink(missing_ok=True)
        try:
            self.index.write(lambda db: self.index.forget(db, keys))
        except OSError:
            self._looked = _NEVER

    def _drop_damaged(self, key: str) -> None:
        """Drop the entry if it is still damaged."""
        with suppress(OSError):  # read-only, or gone meanwhile: it is not served either way
            try:
                read(self._name(key), key)
            except CorruptEntryError:
                info = self.index.info(key) or EntryInfo(key, "", 0, 0.0)
                self._unlink([key])
                if self.on_evict is not None:
                    self.on_evict(Evicted(info, "corrupt"))

    def _make_folders(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in ("entries", "tmp"):
            (self.root / name).mkdir(exist_ok=True)
        tag = self.folder / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(TAG)
        if self.state != self.root:
            _local_folder()
            self.state.mkdir(exist_ok=True)

    def _look(self, key: str) -> EntryInfo | None:
        """What an entry's file says of itself; None where it is no entry."""
        try:
            with open(self._name(key), "rb") as file:  # noqa: PTH123  (a name will do)
                status = os.fstat(file.fileno())
                header, _ = parse_header(file.read(HEAD))
            info = file_info(header, status.st_size, status.st_mtime)
        except (FileNotFoundError, CorruptEntryError):
            return None
        return info if info.key == key else None

    def _name(self, key: str) -> str:
        return f"{self._entries}{key[:2]}{os.sep}{key}.emb"


# -------------------------------------------------------------------------------- files and locks of the tier


class Claim:
    """The right to encode one image: a lock of the kernel, which ends with its holder, however that dies."""

    def __init__(self, path: Path) -> None:
        from filelock import FileLock  # a process whose images are all there never needs it

        self._path = path
        self._lock = FileLock(path, blocking=False, thread_local=False)

    def acquire(self) -> bool:
        """Take it if it is free. Raises OSError where the folder cannot be used."""
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout:
            return False
        except NotImplementedError as error:
            raise OSError(errno.ENOLCK, str(error)) from error
        return True

    def release(self) -> None:
        """Let go. The file is deleted first, while nobody else can hold it: who waits sees that and makes another."""
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):
            self._lock.release()


OPEN_FILES_STAY = os.name == "nt"
"""Whether a file that is open can be neither renamed nor removed. Elsewhere both are done under its lock."""

ABANDONED = 86400.0
"""Seconds after which a left-over file is removed where the file system has no locks to tell whether it is in use."""

# Windows has no O_CLOEXEC, as its children inherit nothing by default, and translates line ends unless told not to.
_PLAIN = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class TemporaryFile:
    """A file under a name of its own until it is published. Locked while it is written, so that `sweep` spares it.

    Args:
        folder: for the file, on the same file system as where it will be published.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{socket.gethostname()}-{os.getpid()}-{os.urandom(6).hex()}"
        self._fd = -1

    def __enter__(self) -> TemporaryFile:
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _PLAIN, 0o600)
        with suppress(OSError):
            _lock_file(self._fd)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        with suppress(OSError):
            self.path.unlink()

    def write(self, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write `pieces` one after another; `durable` waits until they are on the disk. Raises OSError."""
        for piece in pieces:
            view = memoryview(piece)
            while view:
                view = view[os.write(self._fd, view) :]
        if durable:
            os.fsync(self._fd)

    def publish(self, path: Path) -> None:
        """Give the file its name, replacing what has it. Raises OSError."""
        if OPEN_FILES_STAY:
            self._close()
        self.path.replace(path)

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def sweep(folder: Path) -> int:
    """Remove files in `folder` that nobody holds a lock on; how many. Raises OSError."""
    removed = 0
    for file in list(_scan(folder)):
        with suppress(FileNotFoundError):
            fd = os.open(file.path, os.O_RDWR | _PLAIN)
            try:
                try:
                    abandoned = _lock_file(fd)
                except OSError:
                    abandoned = abs(time.time() - os.fstat(fd).st_mtime) > ABANDONED
                if abandoned and not OPEN_FILES_STAY:
                    Path(file.path).unlink(missing_ok=True)
            finally:
                os.close(fd)
            if abandoned and OPEN_FILES_STAY:
                Path(file.path).unlink(missing_ok=True)
            removed += abandoned
    return removed


def _scan(folder: str | os.PathLike[str]) -> Iterator[os.DirEntry[str]]:
    """What is in a folder; nothing where there is none. Raises OSError."""
    try:
        with os.scandir(os.fspath(folder)) as found:
            yield from found
    except (FileNotFoundError, NotADirectoryError):
        return


def _lock_file(fd: int) -> bool:
    """Lock an open file, until it is closed, if it is free; whether it was. Raises OSError."""
    from filelock import lock_descriptor

    return lock_descriptor(fd, blocking=False)


def _local_folder() -> Path:
    """A folder of this machine that is this user's alone. Raises OSError where somebody else has made it."""
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    folder = Path(tempfile.gettempdir()) / f"samovar-{user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
    return folder


NETWORKS = ("9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "gpfs", "lustre", "ncpfs", "nfs", "smb", "virtiofs")
"""Kinds of file systems, by how Linux's names for them begin, on which other machines may be at work."""


def lacks_locks(folder: Path) -> bool:
    """Whether the file system of a folder is a network's, or has no locks. Raises OSError."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            here, longest, kind = os.path.realpath(folder) + "/", "", ""
            for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                before, _, after = line.partition(" - ")
                point = before.split()[4].rstrip("/") + "/"
                if here.startswith(point) and len(point) >= len(longest):
                    longest, kind = point, after.split()[0]
            if kind.startswith(NETWORKS):
                return True
    if fcntl is None:
        return False
    fd = os.open(folder, os.O_RDONLY | _PLAIN)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, getattr(errno, "ENOTSUP", errno.ENOSYS))
    finally:
        os.close(fd)
    return False
