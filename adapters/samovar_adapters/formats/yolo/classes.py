"""The class names of a YOLO data set: `data.yaml`, or `classes.txt` with a name a line."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from samovar.errors import InputError

__all__ = ["MARK", "names_in", "to_yaml"]

MARK = "# Written by Samovar"

_PAIR = re.compile(r"\s*(\d+)\s*:\s*(.+?)\s*$")
_ITEM = re.compile(r"\s*-\s+(.+?)\s*$")
_FLOW = re.compile(
    r"""\s*(?:(?P<number>\d+)\s*:\s)?\s*
    (?P<value>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\]}'"][^,\]}]*?)?\s*(?P<stop>[,\]}])""",
    re.VERBOSE,
)


def to_yaml(names: Sequence[str]) -> bytes:
    """`data.yaml` as YOLO trainers read it, with `train.txt` beside it."""
    lines = [MARK, "train: train.txt", "val: train.txt", "names:" if names else "names: {}"]
    # A JSON string is a YAML string, whatever is in it.
    lines += [f"  {number}: {json.dumps(name)}" for number, name in enumerate(names)]
    return ("\n".join(lines) + "\n").encode("utf-8")


def names_in(path: Path) -> dict[int, str]:
    """Class number → name, from a `.yaml` file's `names` (a mapping or a list, in either style) or from a text file.

    Raises:
        InputError: it cannot be read, or its names are written in a way that this reader, which is no YAML parser, does
            not know.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    if path.suffix.lower() not in (".yaml", ".yml"):
        return dict(enumerate(line.strip() for line in text.splitlines() if line.strip()))
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    starts = [index for index, line in enumerate(lines) if re.match(r"names\s*:", line)]
    if not starts:
        raise InputError(f"{path}: expected the classes under `names:`; got none; or write them to classes.txt")
    first = lines[starts[0]].partition(":")[2].strip()
    rest = lines[starts[0] + 1 :]
    found = _flow(" ".join([first, *map(str.strip, rest)])) if first else _block(rest)
    if found is None:
        raise InputError(
            f"{path}: cannot read `names`; expected a list or a mapping of numbers; or write them to classes.txt"
        )
    return found


def _block(lines: Sequence[str]) -> dict[int, str] | None:
    found: dict[int, str] = {}
    for line in lines:
        pair, item = _PAIR.match(line), _ITEM.match(line)
        if item is not None:
            found[len(found)] = _scalar(item[1])
        elif pair is not None and line[0] in " \t":
            found[int(pair[1])] = _scalar(pair[2])
        elif line[0] in " \t":
            return None
        else:
            break
    return found or None


def _flow(text: str) -> dict[int, str] | None:
    """A list in brackets or a mapping in braces."""
    found: dict[int, str] = {}
    at = 1
    while text[:1] in ("[", "{") and (entry := _FLOW.match(text, at)) is not None:
        numbered = entry["number"] is not None
        if entry["value"] is not None:
            if numbered != (text[0] == "{"):
                return None
            found[int(entry["number"]) if numbered else len(found)] = _scalar(entry["value"])
        if entry["stop"] != ",":
            return found
        at = entry.end()
    return None


def _scalar(text: str) -> str:
    if text[:1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text.strip('"')
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    return text.partition(" #")[0].strip()
