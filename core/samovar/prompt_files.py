"""Prompts in files: JSON for one image or many, and NumPy arrays of boxes or points."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import msgspec
import numpy as np
from numpy.typing import NDArray

from samovar.errors import PromptError
from samovar.prompts import Prompts, PromptsLike
from samovar.schema import PROMPT_KEYS, OpenImage, PromptRecord, is_data_url, prompt_record, prompts_of, read

if TYPE_CHECKING:
    from samovar.image import Image

__all__ = ["FIELDS", "load_prompts", "save_prompts"]

FIELDS = PROMPT_KEYS
"""The keys of a prompt in JSON."""

ARRAYS = ("boxes", "points", "point_labels", "point_offsets", "labels", "ids")
"""The arrays that an .npz file may hold."""


def load_prompts(source: str | os.PathLike[str] | list[Any] | Mapping[str, Any]) -> Prompts | dict[str, Prompts]:
    """Prompts from a file, or from what its JSON says.

    Args:
        source: a .json, .npy or .npz file, or parsed JSON:

            - a list of prompts: objects as `samovar.schema.PromptRecord`, or rows of four numbers (a box) or of two
              (a foreground point);
            - one such object;
            - any other object: image name → one of the above.

            Images that masks and exemplars name are relative to the JSON file. An .npy file holds N×4 boxes or N×2
            points, an .npz file any of the arrays `ARRAYS`.

    Returns:
        `Prompts` for one image, or a dict image name → `Prompts`.

    Raises:
        PromptError: one line with the file, the image, the item (counted from 0) and what is wrong with it.
    """
    if not isinstance(source, (str, os.PathLike)):
        return _read(source, "prompts", Path())
    path = Path(source)
    name, suffix = path.name or str(source), path.suffix.lower()
    if suffix not in (".json", ".npy", ".npz"):
        raise _wrong(name, "a .json, .npy or .npz file", suffix or "no suffix", "rename or convert it")
    try:
        if suffix != ".json":
            return _load_arrays(path, name)
        value = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=_unique_keys)
    except PromptError:
        raise
    except FileNotFoundError as error:
        raise _wrong(name, "a file of prompts", "no such file", f"check the path {path}") from error
    except json.JSONDecodeError as error:
        where = f"{name}: line {error.lineno} column {error.colno}"
        raise _wrong(where, "JSON", f"an error there ({error.msg})", "correct it") from error
    except UnicodeDecodeError as error:
        raise _wrong(name, "UTF-8 text", f"byte {error.start}, which is none", "save it as UTF-8") from error
    except _KeyTwice as error:
        raise _wrong(name, "every key once", f"{error.key!r} twice in one object", "rename or merge them") from error
    except RecursionError as error:
        raise _wrong(name, "a list of prompts", "JSON nested too deep", "check how it was made") from error
    except (OSError, ValueError, EOFError, BadZipFile, MemoryError) as error:
        got = " ".join(str(error).split())[:120] or type(error).__name__
        raise _wrong(name, f"a readable {suffix} file", got, "write it again") from error
    return _read(value, name, path.parent)


def save_prompts(prompts: PromptsLike | Mapping[str, PromptsLike], path: str | os.PathLike[str]) -> None:
    """Write prompts of one image, or of many by name, as JSON that `load_prompts` gives back exactly.

    The file is complete or not there at all, whenever the process is killed.

    Raises:
        PromptError: a suffix other than .json, or what JSON cannot hold (exemplars, low-resolution logits).
    """
    target = Path(path)
    if target.suffix.lower() != ".json":
        raise _wrong(target.name, "a .json file", target.suffix or "no suffix", "rename it")
    if isinstance(prompts, Mapping):
        images = [f"{json.dumps(name)}: {_dump(Prompts.of(each))}" for name, each in prompts.items()]
        text = "{\n" + ",\n".join(images) + "\n}\n"
    else:
        text = _dump(Prompts.of(prompts)) + "\n"
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------- reading


def _read(value: Any, where: str, folder: Path) -> Prompts | dict[str, Prompts]:
    if isinstance(value, Mapping) and value.keys().isdisjoint(PROMPT_KEYS):
        return {str(name): _of_image(each, f"{where}: {json.dumps(name)}", folder) for name, each in value.items()}
    return _of_image(value, where, folder)


def _of_image(value: Any, where: str, folder: Path) -> Prompts:
    """The prompts of one image: a list of them, or one by itself."""
    if isinstance(value, Mapping) and value.keys().isdisjoint(PROMPT_KEYS):
        raise _wrong(where, "prompts", "an object with none of their keys", f"use the keys {', '.join(PROMPT_KEYS)}")
    alone = isinstance(value, Mapping)
    if not alone and not isinstance(value, list):
        raise _wrong(where, "a list of prompts or an object image → list", _kind(value), "see the format's page")
    places = [f"{where}: "] if alone else [f"{where}: item {index}: " for index in range(len(value))]
    given = zip([value] if alone else value, places)
    items: list[PromptRecord | list[Any]] = [
        read(item, PromptRecord | list[Any], place, PromptError) for item, place in given
    ]
    return prompts_of(items, where, _Folder(folder), alone=alone)


class _Folder(OpenImage):
    """Images that a file of prompts names: relative to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def image(self, name: str) -> Image:
        from samovar.image import Image

        return super().image(name) if is_data_url(name) else Image(self._folder / name)

    def mask(self, name: str) -> Any:
        from samovar.image import read_mask

        return super().mask(name) if is_data_url(name) else read_mask(self._folder / name)


def _load_arrays(path: Path, name: str) -> Prompts:
    with path.open("rb") as stream:
        loaded = np.load(stream, allow_pickle=False)
        arrays = {key: loaded[key] for key in loaded.files} if hasattr(loaded, "files") else {"": loaded}
    try:
        return Prompts.of(arrays[""]) if "" in arrays else _from_arrays(arrays)
    except PromptError as error:
        raise PromptError(f"{name}: {error}") from error


def _from_arrays(arrays: dict[str, NDArray[Any]]) -> Prompts:
    unknown = sorted(arrays.keys() - set(ARRAYS))
    if unknown:
        raise PromptError(f"expected the arrays {', '.join(ARRAYS)}; got {unknown[0]!r:.60}; rename or remove it")
    boxes, points = arrays.get("boxes"), arrays.get("points")
    labels, ids = arrays.get("labels", np.zeros(0)).tolist(), arrays.get("ids", np.zeros(0)).tolist()
    if points is None:
        if boxes is None:
            raise PromptError(f"expected boxes or points; got {', '.join(arrays) or 'no array'}; add one of them")
        return Prompts.from_boxes(boxes, labels=labels, ids=ids)
    offsets = arrays.get("point_offsets", np.arange(len(points) + 1))
    count = len(offsets) - 1
    if boxes is not None and len(boxes) != count:
        raise PromptError(f"boxes must be one per prompt ({count}); got {len(boxes)}; use a row of NaN for none")
    return Prompts(
        np.full((count, 4), np.nan, np.float32) if boxes is None else boxes,
        points,
        arrays.get("point_labels", np.ones(len(points), np.int8)),
        offsets,
        labels=labels,
        ids=ids,
    )


class _KeyTwice(Exception):
    """A key that stands twice in one JSON object: the first value would be lost without a word."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _KeyTwice(key)
            seen.add(key)
    return result


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, (int, float)) else type(value).__name__)


def _wrong(where: str, expected: str, got: str, advice: str) -> PromptError:
    return PromptError(f"{where}: expected {expected}; got {got}; {advice}")


# ------------------------------------------------------------------------------------------- writing


def _dump(prompts: Prompts) -> str:
    """One prompt a line."""
    if not len(prompts):
        return "[]"
    records = [prompt_record(prompt, f"prompt {index}") for index, prompt in enumerate(prompts)]
    rows = [json.dumps(msgspec.to_builtins(record), ensure_ascii=False) for record in records]
    return "[\n  " + ",\n  ".join(rows) + "\n]"
