"""Published weights: found on this machine, or downloaded once, whole and checked.

A download can be broken off and taken up again, and the file appears under its name only when it is whole. Repositories
of the Hugging Face hub are left to its own library, so that weights which other programs have downloaded are used, and
$HF_HOME, $HF_TOKEN and $HF_HUB_OFFLINE mean here what they mean there.
"""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from samovar.errors import MissingExtraError, WeightsError
from samovar_plugins.toolkit.checkpoint import files_of

__all__ = ["download", "locate", "weights_folder"]

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_SMALL = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json")
_FORMATS = (
    ("model*.safetensors", "model.safetensors.index.json"),
    ("pytorch_model*.bin", "pytorch_model.bin.index.json"),
)
_BLOCK = 1 << 20

_WAIT = 60.0
"""Seconds without a byte after which a download counts as broken off."""
_IDLE = 5
"""So many times of that without a byte, and another process's download is not waited for any more."""


def locate(given: str | None, published: str, digest: str | None = None, *, gated: str | None = None) -> Path:
    """The file or folder of weights.

    Args:
        given: a path, a hub id ("owner/name") or a URL; None for the published ones.
        published: their URL, or hub id. The one checkpoint in a `.zip` is taken out of it.
        digest: theirs, if they are a URL: "sha256:…", "md5:…" or "git:…" (of a git blob).
        gated: where to ask for access, if the weights must be asked for.

    Raises:
        WeightsError: no such file, a download that failed, or one with another digest.
        MissingExtraError: a hub id, and the hub's library is not installed.
    """
    if given is None:
        given = published
    else:
        digest, path = None, Path(given).expanduser()
        if path.exists():
            return path
    if given.startswith(("http://", "https://")):
        return _unzipped(download(given, digest, gated=gated))
    if _HUB_ID.fullmatch(given):
        return _from_hub(given, gated)
    raise WeightsError(f"no weights at {given!r}; expected a file, a folder, a URL or a hub id such as owner/name")


def weights_folder() -> Path:
    """$SAMOVAR_WEIGHTS_DIR, or `samovar/weights` in the platform's folder for data."""
    given = os.environ.get("SAMOVAR_WEIGHTS_DIR")
    if given:
        return Path(given).expanduser()
    from platformdirs import user_data_path

    return user_data_path("samovar", appauthor=False) / "weights"


def _from_hub(name: str, gated: str | None) -> Path:
    """The folder with a hub repository's tensors and configuration."""
    earlier = weights_folder() / "hub" / name.replace("/", "--")  # where Samovar 0.1 put them
    if _has_tensors(earlier):
        return earlier
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'weights {name!r} of the Hugging Face hub need huggingface_hub; run: pip install "samovar[sam]"'
        ) from error
    try:
        # What is on this machine first: whoever has the weights needs no network, and waits for none.
        for here in (True, False):
            for patterns in _FORMATS:
                with suppress(LocalEntryNotFoundError) if here else nullcontext():
                    wanted = [*patterns, *_SMALL]
                    folder = Path(snapshot_download(name, allow_patterns=wanted, local_files_only=here))
                    if _has_tensors(folder):
                        return folder
    except GatedRepoError as error:
        raise WeightsError(_ask(name, gated)) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        # LocalEntryNotFoundError is what comes of no network, of HF_HUB_OFFLINE, and of no answer.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsError(
            f"cannot get {name!r} from the hub: {reason:.150}; check the name and the network"
        ) from error
    raise WeightsError(f"hub repository {name!r} has no model.safetensors or pytorch_model.bin; pass weights=FILE")


def _has_tensors(folder: Path) -> bool:
    """Whether all files of a checkpoint are in a folder."""
    try:
        return folder.is_dir() and all(file.is_file() for file in files_of(folder))
    except WeightsError:
        return False


def _ask(what: str, gated: str | None) -> str:
    return f"{what} is gated; ask for access at {gated or 'its page'}, then set HF_TOKEN to a token of yours"


def download(url: str, digest: str | None, *, gated: str | None = None) -> Path:
    """The file at `url`, from the weights folder if it is there, else downloaded to it.

    What an earlier call had downloaded before it broke off is kept and continued. A file is checked against `digest`,
    or against the SHA-256 that the hub states for it, before it gets its name. Of several processes that want it, one
    downloads it and the others wait.

    Args:
        url: http or https.
        digest: "sha256:…", "md5:…" or "git:…" (of a git blob), or None.
        gated: where to ask for access, if the file must be asked for. $HF_TOKEN is sent to the hub.

    Raises:
        WeightsError: not reachable, refused, broken off, or of another digest.
    """
    # The digest keeps files of one name and different origins apart.
    folder = weights_folder() / (digest or hashlib.sha256(url.encode()).hexdigest()).rpartition(":")[2][:12]
    target = folder / PurePosixPath(unquote(urlsplit(url).path)).name
    if target.is_file():
        return target
    unfinished = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
    from filelock import FileLock, Timeout

    lock, had, idle = FileLock(target.with_name(f".{target.name}.lock")), -1, 0
    while True:
        try:
            lock.acquire(timeout=_WAIT)
            break
        except Timeout:
            have = unfinished.stat().st_size if unfinished.exists() else 0
            had, idle = have, idle + 1 if have == had else 0
        if idle == _IDLE:
            raise WeightsError(
                f"another process downloads {target} and has got nothing for {_IDLE * _WAIT:g} s; end it and try again"
            )
    try:
        yield
    finally:
        lock.release()


def _fetch(url: str, unfinished: Path, gated: str | None) -> str | None:
    """Append what is missing of `url` to the file; the digest that the server states, if it does."""
    from samovar.http import BrokenOffError, Client, HttpError, without_secrets

    shown = without_secrets(url)
    client = Client("weights", idle_seconds=_WAIT, authorize=_token)
    try:
        response = client.download(url, unfinished)
    except BrokenOffError as error:
        whole = "" if error.total is None else f" of {error.total / 1e6:.1f}"
        raise WeightsError(
            f"download of {shown} broke off after {error.received / 1e6:.1f}{whole} MB; run it again"
        ) from error
    except HttpError as error:
        raise WeightsError(f"cannot download {shown}: {error.got}; check the network, or pass weights=FILE") from error
    if response.status == 416:  # all of it is there already
        return None
    if response.status in (401, 403):
        raise WeightsError(_ask(f"{shown} (HTTP {response.status})", gated))
    if not response.ok:
        said = f"HTTP {response.status} {response.reason}"
        raise WeightsError(f"cannot download {shown}: {said}; check the name, or pass weights=FILE")
    linked = (response.headers.get("X-Linked-Etag") or response.headers.get("ETag") or "").strip('"')
    return f"sha256:{linked}" if re.fullmatch(r"[0-9a-f]{64}", linked) else None


def _token(url: str) -> Mapping[str, str]:
    token, host = os.environ.get("HF_TOKEN"), urlsplit(url).hostname or ""
    ours = host == "huggingface.co" or host.endswith(".huggingface.co")
    return {"Authorization": f"Bearer {token}"} if token and ours else {}


def _check(path: Path, digest: str | None, url: str) -> None:
    """Raise, and remove the file, unless it has the digest."""
    if digest is None:
        return
    kind, _, expected = digest.partition(":")
    hasher = hashlib.new("sha1" if kind == "git" else kind, usedforsecurity=False)
    if kind == "git":
        hasher.update(b"blob %d\0" % path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    if hasher.hexdigest() != expected:
        path.unlink()
        got = hasher.hexdigest()[:12]
        raise WeightsError(f"{url} has another {kind} digest than expected ({got}…); it was removed; try again")


def _unzipped(path: Path) -> Path:
    """`path`, or the one checkpoint inside it if it is an archive of one."""
    if path.suffix != ".zip":
        return path
    target = path.with_suffix("")
    if target.exists():
        return target
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if PurePosixPath(name).name == target.name]
            if len(inside) != 1:
                raise WeightsError(f"expected one {target.name} in {path}; found {len(inside)}; delete it and retry")
            unfinished = target.with_suffix(f"{target.suffix}.{os.getpid()}")
            with archive.open(inside[0]) as packed, unfinished.open("wb") as unpacked:
                while block := packed.read(_BLOCK):
                    unpacked.write(block)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is torn; delete it and try again") from error
    unfinished.replace(target)
    return target
