"""Filling in the templates of a new plugin package."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path
from string import Template

from samovar import __version__
from samovar.errors import InputError, UnknownNameError

__all__ = ["KINDS", "scaffold"]

KINDS = ("segmenter", "source", "sink")

_TEMPLATES = Path(__file__).parent / "templates"
_SUFFIX = ".template"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def scaffold(name: str, kind: str, folder: Path) -> list[Path]:
    """Write a package that brings one segmenter, prompt source or mask sink; return the files, in order.

    Args:
        name: of the package, such as "samovar-threshold"; what it brings is called the same without "samovar-".
        kind: one of `KINDS`.
        folder: made for it; must not exist yet.

    Raises:
        InputError: a name that no package can have, or a folder that exists.
        UnknownNameError: another kind.
    """
    if kind not in KINDS:
        raise UnknownNameError.among("kind of plugin", kind, KINDS, "choose one of these")
    names = _names(name)
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another name, or move it out of the way")
    written = []
    for tree in (_TEMPLATES / "common", _TEMPLATES / kind):
        for template in tree.rglob(f"*{_SUFFIX}"):
            path = template.relative_to(tree).as_posix().removesuffix(_SUFFIX)
            target = folder / path.replace("_module_", names["module"])
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(Template(template.read_text(encoding="utf-8")).substitute(names), encoding="utf-8")
            written.append(target)
    return sorted(written)


def _names(name: str) -> dict[str, str]:
    """What stands for what in the templates."""
    module = name.replace("-", "_")
    taken = module in sys.stdlib_module_names or module in ("samovar", "samovar_plugins", "samovar_adapters")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module) or taken:
        raise InputError(f"a plugin package is called such as samovar-threshold (a-z, 0-9 and -); got {name!r}")
    short = name.removeprefix("samovar-")
    title = "".join(part.capitalize() for part in short.split("-"))
    return {
        "package": name,
        "module": module,
        "name": short,
        "title": title if title[0].isalpha() else f"The{title}",
        "version": __version__,
    }
