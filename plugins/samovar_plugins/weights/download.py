"""Downloads that can be broken off and taken up again, and that appear under their name only when whole and checked."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filelock import FileLock, Timeout

from samovar.errors import WeightsError
from samovar.home import home

__all__ = ["download", "weights_folder"]

BLOCK = 1 << 20
TIMEOUT = 60
"""Seconds without a byte after which a download counts as broken off."""

IDLE = 5
"""So many times of that without a byte, and another process's download is not waited for any more."""

_DROPPED = (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException)
"""What a connection that breaks off raises, beside urllib's own errors."""


def weights_folder() -> Path:
    """$SAMOVAR_WEIGHTS_DIR, or `samovar/weights` in the platform's folder for data."""
    given = os.environ.get("SAMOVAR_WEIGHTS_DIR")
    if given:
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return home() / "Library" / "Application Support" / "samovar" / "weights"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home() / "AppData" / "Local") / "samovar" / "weights"
    return Path(os.environ.get("XDG_DATA_HOME") or home() / ".local" / "share") / "samovar" / "weights"


def download(url: str, digest: str | None, *, gated: str | None = None, target: Path | None = None) -> Path:
    """The file at `url`, from the weights folder if it is there, else downloaded to it.

    What an earlier call had downloaded before it broke off is kept and continued. A file is checked against `digest`,
    or against the SHA-256 that the hub states for it, before it gets its name. Of several processes that want it, one
    downloads it and the others wait.

    Args:
        url: http or https.
        digest: "sha256:…", "md5:…" or "git:…" (of a git blob), or None.
        gated: where to ask for access, if the file must be asked for. $HF_TOKEN is sent to the hub.
        target: where to put it; by default in the weights folder, under the URL's last part.

    Raises:
        WeightsError: not reachable, refused, broken off, or of another digest.
    """
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if target is None:
        # The digest keeps files of one name and different origins apart.
        folder = weights_folder() / (digest or hashlib.sha256(url.encode()).hexdigest()).rpartition(":")[2][:12]
        target = folder / name
    if target.is_file():
        return target
    unfinished = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target, unfinished):
            if not target.is_file():
                stated = _fetch(url, unfinished, gated)
                _check(unfinished, digest or stated, url)
                unfinished.replace(target)
    except OSError as error:
        raise WeightsError(
            f"cannot write {target}: {error.strerror or error}; free space or set SAMOVAR_WEIGHTS_DIR"
        ) from error
    return target


@contextmanager
def _alone(target: Path, unfinished: Path) -> Iterator[None]:
    """While no other process downloads the same file; two at it would write over each other.

    Raises OSError, and WeightsError where another process is at it that does not get on.
    """
    lock = FileLock(target.with_name(f"{target.name}.lock"), timeout=TIMEOUT)
    had, idle = -1, 0
    while True:
        try:
            lock.acquire()
            break
        except Timeout:
            pass
        have = unfinished.stat().st_size if unfinished.exists() else 0
        had, idle = have, idle + 1 if have == had else 0
        if idle == IDLE:
            raise WeightsError(
                f"another process downloads {target} and has got nothing for {IDLE * TIMEOUT} s; end it and try again"
            )
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, unfinished: Path, gated: str | None) -> str | None:
    """Append what is missing of `url` to the file; the digest that the server states, if it does."""
    have = unfinished.stat().st_size if unfinished.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "samovar", "Accept-Encoding": "identity"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    token = os.environ.get("HF_TOKEN")
    if token and (urlsplit(url).hostname or "").endswith("huggingface.co"):
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # all of it is there already
            return None
        raise WeightsError(_refused(url, error, gated)) from error
    except (urllib.error.URLError, *_DROPPED) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else f"{type(error).__name__}: {error}"
        raise WeightsError(f"cannot download {url}: {reason}; check the network, or pass weights=FILE") from error
    with response:
        if response.status != 206:  # the server sends the whole file again
            have = 0
        expected = response.headers.get("Content-Length")
        received = 0
        with unfinished.open("r+b" if have else "wb") as file:
            file.seek(have)
            try:
                while block := response.read(BLOCK):
                    file.write(block)
                    received += len(block)
            except _DROPPED as error:
                raise WeightsError(f"{_broken(url, have + received)}: {type(error).__name__}; run it again") from error
            file.truncate()
        if expected is not None and received < int(expected):
            whole = (have + int(expected)) / 1e6
            raise WeightsError(f"{_broken(url, have + received)} of {whole:.1f} MB; run it again")
        linked = (response.headers.get("X-Linked-Etag") or response.headers.get("ETag") or "").strip('"')
    return f"sha256:{linked}" if re.fullmatch(r"[0-9a-f]{64}", linked) else None


def _broken(url: str, size: int) -> str:
    return f"download of {url} broke off after {size / 1e6:.1f} MB"


def _refused(url: str, error: urllib.error.HTTPError, gated: str | None) -> str:
    if error.code in (401, 403):
        where = gated or "its page"
        return f"{url} is gated (HTTP {error.code}); ask for access at {where}, then set HF_TOKEN to a token of yours"
    return f"cannot download {url}: HTTP {error.code} {error.reason}; check the name, or pass weights=FILE"


def _check(path: Path, digest: str | None, url: str) -> None:
    """Raise, and remove the file, unless it has the digest."""
    if digest is None:
        return
    kind, _, expected = digest.partition(":")
    hasher = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        hasher.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
    if hasher.hexdigest() != expected:
        path.unlink()
        got = hasher.hexdigest()[:12]
        raise WeightsError(f"{url} has another {kind} digest than expected ({got}…); it was removed; try again")
