"""`CacheConfig`: where the cache lies and how large it may grow; from arguments, the environment and one TOML file."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from samovar.cache.store import ADMISSIONS, Admission
from samovar.cache.tensors import PRECISIONS, Precision
from samovar.deprecation import warn_renamed
from samovar.errors import CacheError, InputError
from samovar.home import cache_folder, settings_folder
from samovar.sizes import parse_bytes

__all__ = ["SETTINGS", "CacheConfig", "default_folder", "settings_file"]

GIB = 1 << 30

SETTINGS = {
    "folder": "SAMOVAR_CACHE_DIR",
    "tiers": "SAMOVAR_CACHE_TIERS",
    "memory": "SAMOVAR_CACHE_MEMORY",
    "disk": "SAMOVAR_CACHE_DISK",
    "cuda": "SAMOVAR_CACHE_CUDA",
    "pinned": "SAMOVAR_CACHE_PINNED",
    "precision": "SAMOVAR_CACHE_PRECISION",
    "admission": "SAMOVAR_CACHE_ADMISSION",
    "durable": "SAMOVAR_CACHE_DURABLE",
}
"""Each setting and the environment variable that overrides the settings file."""

RENAMED = {"placement": "admission"}
"""Settings by their names of earlier releases."""


@dataclass(frozen=True)
class CacheConfig:
    """What a cache is opened with. `CacheConfig.load` fills in what is not given.

    Attributes:
        folder: of the disk tier.
        tiers: from fast to slow, each a name or "name=argument" (`samovar plugins` lists what there is). One that
            cannot serve here, such as "cuda" for a segmenter on the CPU, is passed over.
        memory: bytes of the memory tier.
        disk: bytes of the disk tier; None for 20 GiB or a quarter of the space that would be free without it, whichever
            is less.
        cuda: bytes of the CUDA tier on each device; None for an eighth of the device's memory.
        pinned: bytes of the slab of page-locked memory that feeds CUDA devices.
        precision: "exact", "half" or "int8": how tensors are kept that their segmenter calls compressible.
        admission: "measured": a tier is given only what is faster to read back from it than to encode again, as
            measured on this machine; "always": it is given everything.
        durable: force every entry onto the disk before it appears (slower; only a power cut makes a difference).

    Raises:
        CacheError: a value that makes no sense.
    """

    folder: Path
    tiers: tuple[str, ...]
    memory: int
    disk: int | None
    cuda: int | None
    pinned: int
    precision: Precision
    admission: Admission
    durable: bool

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise CacheError(f"cache precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        if self.admission not in ADMISSIONS:
            raise CacheError(f"cache admission must be one of {', '.join(ADMISSIONS)}; got {self.admission!r}")
        for name in ("memory", "disk", "cuda", "pinned"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise CacheError(f"cache {name} must be a number of bytes, at least 0; got {value!r}")
        if not self.tiers:
            raise CacheError('cache tiers must name at least one tier; to go without a cache, open "off"')

    @classmethod
    def load(cls, **given: Any) -> CacheConfig:
        """Settings from `given`, else the environment, else the settings file, else this machine's defaults.

        Sizes may be numbers of bytes or text such as "20GiB".

        Raises:
            CacheError: an unknown setting or a value that makes no sense; says where it came from.
        """
        values = _today(_from_file(settings_file()))
        variables = {**SETTINGS, **{old: f"SAMOVAR_CACHE_{old.upper()}" for old in RENAMED}}
        values |= _today(
            {name: (os.environ[variable], variable) for name, variable in variables.items() if os.environ.get(variable)}
        )
        values |= _today({name: (value, name) for name, value in given.items() if value is not None})
        unknown = values.keys() - SETTINGS.keys()
        if unknown:
            name = min(unknown)
            raise CacheError(f"unknown cache setting {name!r} in {values[name][1]}; expected {', '.join(SETTINGS)}")
        parsed = {name: _parse(name, value, source) for name, (value, source) in values.items()}
        return cls(**{**_defaults(parsed.get("folder") or default_folder()), **parsed})


def default_folder() -> Path:
    """$SAMOVAR_CACHE_DIR, or `samovar` in the platform's folder for caches."""
    given = os.environ.get("SAMOVAR_CACHE_DIR")
    return Path(given).expanduser() if given else cache_folder()


def settings_file() -> Path:
    """$SAMOVAR_CONFIG, or `samovar/config.toml` in the platform's folder for settings. It need not exist."""
    given = os.environ.get("SAMOVAR_CONFIG")
    return Path(given).expanduser() if given else settings_folder() / "config.toml"


def _today(values: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """The values of one source under today's names, with a warning for each that has another."""
    for old, new in RENAMED.items():
        if old in values:
            source = values[old][1]
            warn_renamed(source, SETTINGS[new] if source.startswith("SAMOVAR_") else new, stacklevel=4)
            values = {new: values.pop(old), **values}
    return values


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    """The [cache] table of a settings file: each value with where it stands."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        if os.environ.get("SAMOVAR_CONFIG"):
            raise CacheError(f"no settings file at {path}; correct or unset SAMOVAR_CONFIG") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CacheError(f"settings file {path} cannot be read: {error}") from error
    table = _toml(text, path).get("cache", {})
    if not isinstance(table, Mapping):
        raise CacheError(f"settings file {path}: expected a table [cache]; got {type(table).__name__}")
    return {name: (value, f"{path}, [cache]") for name, value in table.items()}


def _toml(text: str, path: Path) -> dict[str, Any]:
    try:
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib
    except ModuleNotFoundError:
        raise CacheError(f"reading {path} on Python 3.10 needs tomli: pip install tomli") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CacheError(f"settings file {path} is not TOML: {error}") from error


def _parse(name: str, value: Any, source: str) -> Any:
    try:
        if name == "folder":
            return Path(value).expanduser()
        if name == "tiers":
            parts = value.split(",") if isinstance(value, str) else list(value)
            return tuple(part.strip() for part in parts if part.strip())
        if name in ("precision", "admission"):
            return value
        if name == "durable":
            return _boolean(value)
        return parse_bytes(value) if isinstance(value, str) else value
    except (InputError, TypeError, AttributeError, ValueError) as error:
        raise CacheError(f"cache setting {name} in {source}: {error}") from error


def _boolean(value: Any) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise InputError(f"expected true or false; got {value!r}")
    return words[str(value).lower()]


def _defaults(folder: Path) -> dict[str, Any]:
    ram = _ram()
    return {
        **{field.name: None for field in fields(CacheConfig)},
        "folder": folder,
        "tiers": ("cuda", "pinned", "memory", "disk"),
        "memory": min(2 * GIB, ram // 8),
        "pinned": min(GIB, ram // 16),
        "precision": "half",
        "admission": "measured",
        "durable": False,
    }


def _ram() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * GIB
