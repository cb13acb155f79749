"""Gives mmcv-lite its compiled operators: `python -m tests.openmmlab.mmcv_ext`.

mmcv-lite ships the C++ sources of mmcv's operators but not the module made of them, and mmcv itself has no wheels for
the torch of today. The CPU operators take a minute or two to compile; what works is kept in the user's cache folder, by
the versions that it depends on.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.util import find_spec
from pathlib import Path

# These define macros and templates that clash with the others' and are compiled by themselves.
ALONE = {"pytorch/pybind.cpp", "cpu/psamask.cpp", "cpu/rotated_feature_align.cpp"}
UNITS = 3  # that the other sources are joined into: parsing torch's headers is what takes the time


def main() -> None:
    """Put `_ext` into the installed mmcv, compiled now or before, and see that it works."""
    spec = find_spec("mmcv")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("mmcv-lite is not installed")
    package = Path(spec.submodule_search_locations[0])
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    versions = [f"{name}-{importlib.metadata.version(name)}" for name in ("mmcv-lite", "torch")]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "samovar-build"
    kept = cache / "-".join([*versions, platform.machine()]) / f"_ext{suffix}"
    if kept.is_file():
        shutil.copy(kept, package / kept.name)
        if works():
            return
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        built = compiled(package / "ops" / "csrc", Path(folder))
        shutil.copy(built, package / kept.name)
        if not works():
            sys.exit("mmcv's operators were compiled but do not work; see above")
        built.replace(kept)  # at once, whoever else compiles them now


def works() -> bool:
    """Whether a new process can run one of the operators."""
    script = "import torch; from mmcv.ops import nms; nms(torch.tensor([[0., 0., 9., 9.]]), torch.ones(1), 0.5)"
    return subprocess.run([sys.executable, "-W", "ignore", "-c", script], timeout=300, check=False).returncode == 0


def compiled(sources: Path, folder: Path) -> Path:
    """The module, made in `folder` of the sources in mmcv's `ops/csrc`."""
    from torch.utils.cpp_extension import load

    found = sorted((sources / "pytorch").glob("*.cpp")) + sorted((sources / "pytorch" / "cpu").glob("*.cpp"))
    single = [file for file in found if f"{file.parent.name}/{file.name}" in ALONE]
    others = [file for file in found if file not in single]
    units = []
    for number, group in enumerate([[file] for file in single] + [others[start::UNITS] for start in range(UNITS)]):
        unit = folder / f"unit{number}.cpp"
        unit.write_text("".join(f'#include "{file}"\n' for file in group))
        units.append(str(unit))
    os.environ.setdefault("MAX_JOBS", "2")
    load(
        "_ext",
        units,
        extra_include_paths=[str(sources / "common")],
        extra_cflags=["-O1", "-g0", "-w"],
        build_directory=str(folder),
        is_python_module=False,
    )
    return folder / "_ext.so"


if __name__ == "__main__":
    main()
