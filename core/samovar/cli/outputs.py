"""Where masks go: `--format` and `--out` of one command, and `--sink NAME=PATH` of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from samovar.errors import InputError
from samovar.plugins import find_mask_sink, resolve
from samovar.protocols import MaskSink
from samovar.worklist import key_of_one

__all__ = ["open_outputs", "open_sink"]


def open_sink(name: str, path: str, images: Sequence[str]) -> MaskSink:
    """The sink registered as `name`, writing to `path`, for the images that these paths name.

    Raises:
        InputError: an unknown name, several images for the file of one, or what the sink says of the path.
    """
    spec = find_mask_sink(name)
    if spec.item_suffix and Path(path).suffix.lower() == spec.item_suffix and key_of_one(images) is None:
        raise InputError(f"{path!r} is the file of one image; for several, name a folder")
    sink: MaskSink = resolve(spec)(path)
    return sink


def open_outputs(
    name: str | None, out: str | None, images: Sequence[str], *, as_json: bool
) -> tuple[dict[str, MaskSink], str | None]:
    """The sink for `--format NAME --out OUT`, if one is wanted, and the path it writes to.

    With `--json` alone the masks go to standard output only. Without `out`, one image's masks go into a file named
    after it in the working directory; those of several images into `samovar-out`.

    Raises:
        InputError: several images for one file, an unknown format, or a path that the format cannot write.
    """
    if as_json and name is None and out is None:
        return {}, None
    name = name or "overlay"
    spec = find_mask_sink(name)
    only = key_of_one(images)
    if out is None and only is not None and (spec.suffix or spec.item_suffix):
        out = f"{PurePosixPath(only).stem}.{name}{spec.suffix or spec.item_suffix}"
    elif out is None:
        out = f"samovar-out{spec.suffix}"
    return {name: open_sink(name, out, images)}, out
