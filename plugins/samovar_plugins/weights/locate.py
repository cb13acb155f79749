"""From what a user may name as weights (nothing, a file, a folder, a hub id, a URL) to a file or folder."""

from __future__ import annotations

import json
import os
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from samovar.errors import WeightsError
from samovar_plugins.weights.download import download, weights_folder

__all__ = ["Source", "locate"]

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Source:
    """Where published weights are.

    Attributes:
        url: of the file. The one checkpoint in a `.zip` is taken out of it.
        digest: "sha256:…", "md5:…" or "git:…" (of a git blob); None where none was published.
    """

    url: str
    digest: str | None = None


def locate(given: str | None, source: Source, *, gated: str | None = None, also: tuple[str, ...] = ()) -> Path:
    """The file or folder of weights.

    Args:
        given: a path, a hub id ("owner/name") or a URL; None for `source`.
        source: the model's own.
        gated: where to ask for access, if the weights must be asked for.
        also: further files that a hub repository has to be complete (a tokenizer, say).

    Raises:
        WeightsError: no such file, a download that failed, or one with another digest.
    """
    if given is None:
        return _whole(download(source.url, source.digest, gated=gated))
    path = Path(given).expanduser()
    if path.exists():
        return path
    if given.startswith(("http://", "https://")):
        return _whole(download(given, None, gated=gated))
    if _HUB_ID.fullmatch(given) and not given.startswith("."):
        return _from_hub(given, gated, also)
    raise WeightsError(f"no weights at {given!r}; expected a file, a folder, a URL or a hub id such as owner/name")


def _whole(path: Path) -> Path:
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
                while block := packed.read(1 << 20):
                    unpacked.write(block)
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{path} is torn; delete it and try again") from error
    unfinished.replace(target)
    return target


def _from_hub(name: str, gated: str | None, also: tuple[str, ...]) -> Path:
    """The folder with a hub repository's safetensors and further files, downloaded where need be."""
    base = f"{os.environ.get('HF_ENDPOINT', 'https://huggingface.co').rstrip('/')}/{name}/resolve/main"
    folder = weights_folder() / "hub" / name.replace("/", "--")
    single = folder / "model.safetensors"
    for file in also:
        download(f"{base}/{file}", None, gated=gated, target=folder / file)
    if single.is_file() or ((folder / _INDEX).is_file() and _complete(folder)):
        return folder
    try:
        download(f"{base}/model.safetensors", None, gated=gated, target=single)
    except WeightsError as error:
        if "404" not in str(error):
            raise
        index = download(f"{base}/{_INDEX}", None, gated=gated, target=folder / _INDEX)
        for part in _parts(index):
            download(f"{base}/{part}", None, gated=gated, target=folder / part)
    return folder


def _complete(folder: Path) -> bool:
    return all((folder / part).is_file() for part in _parts(folder / _INDEX))


def _parts(index: Path) -> list[str]:
    """The files that an index names."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError):
        raise WeightsError(f"{index} is no index of safetensors files; delete it and try again") from None
    return sorted(PurePosixPath(urlsplit(str(name)).path).name for name in names)
