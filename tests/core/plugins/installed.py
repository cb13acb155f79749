"""A package as if it were installed: its metadata in a folder of the path, without pip and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["ROOT", "install", "python"]

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [str(ROOT / name) for name in ("core", "plugins", "adapters")]


def install(site: Path, distribution: str, entry_points: Mapping[str, str], version: str = "1.0") -> None:
    """Make `distribution` with these entry points in the group `samovar` visible to whoever has `site` on the path."""
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = "".join(f"{name} = {target}\n" for name, target in entry_points.items())
    (info / "entry_points.txt").write_text(f"[samovar]\n{lines}")


def python(
    *arguments: str, path: Sequence[Path] = (), folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, with `path` in front of Samovar's sources."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")}
    search = os.pathsep.join([*map(str, path), *SOURCES])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**inherited, "PYTHONPATH": search, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
