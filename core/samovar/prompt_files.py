"""Prompts in files: JSON for one image or many, and NumPy arrays of boxes or points."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from samovar.errors import ImageError, MaskError, PromptError
from samovar.prompts import Prompt, Prompts, PromptsLike

__all__ = ["FIELDS", "load_prompts", "save_prompts"]

FIELDS = ("points", "point_labels", "box", "mask", "text", "label", "id")
"""The keys of a prompt in JSON."""

ARRAYS = ("boxes", "points", "point_labels", "point_offsets", "labels", "ids")
"""The arrays that an .npz file may hold."""


def load_prompts(source: str | os.PathLike[str] | list[Any] | Mapping[str, Any]) -> Prompts | dict[str, Prompts]:
    """Prompts from a file, or from what its JSON says.

    Args:
        source: a .json, .npy or .npz file, or parsed JSON:

            - a list of prompts: objects with any of the keys `FIELDS`, or rows of four numbers (a box) or of two (a
              foreground point);
            - an object with such keys: one prompt;
            - any other object: image name → one of the above.

            Coordinates are pixels, (x, y), boxes x1 y1 x2 y2. A `mask` is a COCO RLE object or the path of an image
            file whose non-black pixels are the mask, relative to the JSON file. An .npy file holds N×4 boxes or N×2
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
        raise _wrong(where, "JSON", f"an error there ({error.msg})", "mend it") from error
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
    if isinstance(value, Mapping) and value.keys().isdisjoint(FIELDS):
        images = {str(name): _read(each, f"{where}: {json.dumps(name)}", folder) for name, each in value.items()}
        flat = {name: prompts for name, prompts in images.items() if isinstance(prompts, Prompts)}
        for name in images.keys() - flat.keys():
            advice = f"use the keys {', '.join(FIELDS)}"
            raise _wrong(f"{where}: {json.dumps(name)}", "prompts", "an object with none of their keys", advice)
        return flat
    if isinstance(value, Mapping):
        return Prompts.of(_prompt(value, where, folder))
    if not isinstance(value, list):
        raise _wrong(where, "a list of prompts or an object image → list", _kind(value), "see the format's page")
    columns = _columns(value)
    if columns is not None:
        return columns
    return Prompts.of([_prompt(item, f"{where}: item {index}", folder) for index, item in enumerate(value)])


def _columns(items: list[Any]) -> Prompts | None:
    """Bare rows, or objects of a box alone, straight into columns; None where each item must be looked at by itself.

    That is the case for richer prompts, and for wrong ones, so that the message can name the item.
    """
    try:
        if all(type(item) is list for item in items):
            array = np.array(items)
            if array.dtype.kind in "iuf":
                return Prompts.of(array)
        elif all(type(item) is dict and "box" in item and item.keys() <= {"box", "label", "id"} for item in items):
            labels, ids = [item.get("label") for item in items], [item.get("id") for item in items]
            return Prompts.from_boxes([item["box"] for item in items], labels=labels, ids=ids)
    except (PromptError, ValueError):
        return None
    return None


def _prompt(item: Any, where: str, folder: Path) -> Prompt:
    try:
        if isinstance(item, list):
            if len(item) not in (2, 4):
                raise PromptError(f"a row must be a box x1 y1 x2 y2 or a point x y; got {len(item)} entries; mend it")
            return Prompt(box=item) if len(item) == 4 else Prompt(points=[item])
        if not isinstance(item, Mapping):
            raise PromptError(f'expected an object; got {_kind(item)}; write e.g. {{"box": [12, 30, 410, 380]}}')
        for key in item:
            if key not in FIELDS:
                near = get_close_matches(str(key), FIELDS, n=1, cutoff=0.5)
                advice = f"did you mean {near[0]}?" if near else "remove it"
                raise PromptError(f"expected the keys {', '.join(FIELDS)}; got {key!r:.60}; {advice}")
        given = {key: value for key, value in item.items() if value is not None}
        if "mask" in given:
            given["mask"] = _mask(given["mask"], folder)
        return Prompt(**given)
    except (PromptError, MaskError, ImageError) as error:
        raise PromptError(f"{where}: {error}") from error


def _mask(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        from samovar.masks import Masks

        return Masks.from_coco_rle([dict(value)])
    if isinstance(value, str):
        from samovar.image import read_mask

        return read_mask(folder / value)
    raise PromptError(f"mask must be a COCO RLE object or the path of an image; got {_kind(value)}; write one of them")


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
    rows = [json.dumps(_as_json(prompt, index), ensure_ascii=False) for index, prompt in enumerate(prompts)]
    return "[\n  " + ",\n  ".join(rows) + "\n]"


def _as_json(prompt: Prompt, index: int) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if prompt.points is not None and prompt.point_labels is not None:
        item["points"] = [_shortest(point) for point in prompt.points]
        item["point_labels"] = prompt.point_labels.tolist()
    if prompt.box is not None:
        item["box"] = _shortest(prompt.box)
    if prompt.mask is not None:
        if isinstance(prompt.mask, np.ndarray):
            raise _wrong(f"prompt {index}", "a mask of pixels", "low-resolution logits", "drop or threshold them")
        item["mask"] = prompt.mask.to_coco_rle()[0]
    if prompt.exemplar is not None:
        raise _wrong(f"prompt {index}", "what JSON can hold", "an exemplar", "drop it or keep it in Python")
    for key in ("text", "label", "id"):
        if getattr(prompt, key) is not None:
            item[key] = getattr(prompt, key)
    return item


def _shortest(values: NDArray[np.float32]) -> list[float]:
    """The shortest decimals that give the same float32 back: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in values]
