"""What `samovar doctor` finds out. Each check says what is there and what to do about what is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from typing import Any, Literal

from packaging.requirements import Requirement

from samovar.device import available_devices, why_no_gpu
from samovar.errors import SamovarError
from samovar.home import data_folder, settings_folder
from samovar.plugins import list_segmenters, load_plugins
from samovar.sizes import format_bytes

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One thing looked at: "ok", a "lack" that an install would fill, or "broken"."""

    area: str
    subject: str
    state: Literal["ok", "lack", "broken"]
    detail: str
    advice: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def examine() -> list[Finding]:
    """All findings, grouped by area, in a fixed order."""
    try:
        distribution("samovar")
    except PackageNotFoundError:
        lack = "it runs from its sources without being installed, so none of its plugins is found"
        return [Finding("base install", "samovar", "broken", lack, "pip install . in the folder of its pyproject.toml")]
    return [*_packages(), *_extras(), *_devices(), *_models(), *_plugins(), *_cache(), *_folders()]


def _requirements() -> Iterator[tuple[str | None, Requirement]]:
    """The requirements of samovar, each with the extra that asks for it (None: the base install)."""
    dist = distribution("samovar")
    extras = dist.metadata.get_all("Provides-Extra") or []
    for text in dist.requires or []:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield None, requirement
            continue
        for extra in extras:
            if requirement.marker.evaluate({"extra": extra}):
                yield extra, requirement


def _lack(requirement: Requirement) -> str | None:
    """What is wrong with an installed requirement, or None."""
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    if not requirement.specifier.contains(found, prereleases=True):
        return f"{requirement.name} is {found}, needs {requirement.specifier}"
    return None


def _packages() -> Iterator[Finding]:
    for extra, requirement in _requirements():
        if extra is not None:
            continue
        lack = _lack(requirement)
        if lack:
            yield Finding("base install", requirement.name, "broken", lack, f'pip install "{requirement}"')
        else:
            yield Finding("base install", requirement.name, "ok", version(requirement.name))


def _extras() -> Iterator[Finding]:
    wanted: dict[str, list[Requirement]] = {}
    for extra, requirement in _requirements():
        if extra is not None:
            wanted.setdefault(extra, []).append(requirement)
    for extra, requirements in wanted.items():
        lacks = [lack for requirement in requirements if (lack := _lack(requirement))]
        if lacks:
            yield Finding("extras", extra, "lack", "; ".join(lacks), f'pip install "samovar[{extra}]"')
        else:
            names = ", ".join(f"{requirement.name} {version(requirement.name)}" for requirement in requirements)
            yield Finding("extras", extra, "ok", names)


def _devices() -> Iterator[Finding]:
    found = available_devices()
    for device in found:
        yield Finding("devices", device, "ok", f"{os.cpu_count()} logical processors" if device == "cpu" else "usable")
    if found == ["cpu"]:
        yield Finding("devices", "GPU", "lack", *why_no_gpu())


def _models() -> Iterator[Finding]:
    from samovar.loading import load

    for spec in list_segmenters():
        if spec.weights is not None or spec.extra is not None:
            continue
        try:
            load(spec.name, cache="off")
            yield Finding("models without downloads", spec.name, "ok", spec.summary)
        except (SamovarError, ImportError, OSError) as error:
            yield Finding("models without downloads", spec.name, "broken", str(error), "reinstall samovar")


def _plugins() -> Iterator[Finding]:
    for plugin in load_plugins().list_plugins():
        if plugin.problems:
            advice = f"fix or uninstall it, or set SAMOVAR_BLOCK={plugin.name}"
            yield Finding("plugins", plugin.name, "broken", "; ".join(plugin.problems), advice)
        else:
            yield Finding("plugins", plugin.name, "ok", "blocked" if plugin.blocked else "registered")


def _cache() -> Iterator[Finding]:
    from samovar.cache import CacheConfig

    try:
        folder = CacheConfig.load().folder.absolute()
    except SamovarError as error:
        yield Finding("cache", "settings", "broken", str(error), "correct them, or unset SAMOVAR_CONFIG and its like")
        return
    # By os.path, which takes a folder that may not be looked into for one that is not there.
    existing = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))  # noqa: PTH110
    if not os.access(existing, os.W_OK):
        yield Finding("cache", str(folder), "broken", f"{existing} cannot be written", "set SAMOVAR_CACHE_DIR")
        return
    yield Finding("cache", str(folder), "ok", f"writable, {format_bytes(shutil.disk_usage(existing).free)} free")


def _folders() -> Iterator[Finding]:
    try:
        yield Finding("folders", "settings", "ok", str(settings_folder()))
        yield Finding("folders", "data", "ok", str(data_folder()))
    except SamovarError as error:
        yield Finding("folders", "home", "broken", str(error), "set HOME")
