"""Kernels that an earlier process compiled are read back cheaply, and behave as those that are compiled here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from samovar import jit
from samovar.jit import lean_cache_fits

pytestmark = pytest.mark.slow

KERNELS = """
import sys
import numpy as np
from samovar.jit import njit

@njit
def steps(count: int):
    return np.arange(count) + np.zeros(count)

@njit
def total(count: int) -> float:
    return steps(count).sum()
"""

COMPILER = ("numba.np.arrayobj", "numba.typed.typeddict")
"""Modules that numba generates code with."""

HEAVY = f"print(sorted(set({COMPILER!r}) & set(sys.modules)))"


CALLER = """
from kernels import steps
from samovar.jit import njit

@njit
def last(count: int) -> float:
    return steps(count)[count - 1]
"""


def in_a_fresh_process(folder: Path, program: str, kernels: str = KERNELS) -> str:
    """What a program prints that imports `kernels` from `folder`, whose cache of machine code is there too."""
    source = folder / "kernels.py"
    if not source.exists() or source.read_text() != kernels:
        source.write_text(kernels)
    paths = [str(folder), str(Path(jit.__file__).parents[1])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", f"from kernels import *\n{program}"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(not lean_cache_fits(), reason="a numba whose cache is read numba's way")
def test_a_kernel_is_compiled_again_when_the_file_of_one_that_it_calls_changes(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text(CALLER)
    program = "from caller import last; print(last(4), last.compiled.stats.cache_hits)"
    assert in_a_fresh_process(tmp_path, program).startswith("3.0 Counter()")
    assert in_a_fresh_process(tmp_path, program).startswith("3.0 Counter({")
    doubled = KERNELS.replace("np.zeros(count)", "np.arange(count)")
    assert in_a_fresh_process(tmp_path, program, doubled) == "6 Counter()"


@pytest.mark.skipif(not lean_cache_fits(), reason="a numba whose cache is read numba's way")
@pytest.mark.parametrize(("before", "after"), [("(1, 2)", "(1, 3)"), ("np.array([2])", "np.array([3])")])
def test_a_kernel_is_compiled_again_when_a_constant_of_another_file_changes(
    tmp_path: Path, before: str, after: str
) -> None:
    kernels = """
import numpy as np
from settings import LAST
from samovar.jit import njit

@njit
def inner() -> int:
    return LAST[-1]

@njit
def outer() -> int:
    return inner()
"""
    program = "print(inner(), outer())"
    (tmp_path / "settings.py").write_text(f"import numpy as np\nLAST = {before}\n")
    assert in_a_fresh_process(tmp_path, program, kernels) == in_a_fresh_process(tmp_path, program, kernels) == "2 2"
    (tmp_path / "settings.py").write_text(f"import numpy as np\nLAST = {after}  # longer: two saves in one second\n")
    assert in_a_fresh_process(tmp_path, program, kernels) == "3 3"


@pytest.mark.skipif(not lean_cache_fits(), reason="a numba whose cache is read numba's way")
def test_reading_a_kernel_back_loads_nothing_that_only_compiling_needs(tmp_path: Path) -> None:
    first = in_a_fresh_process(tmp_path, f"print(steps(3)); {HEAVY}")
    again = in_a_fresh_process(tmp_path, f"print(steps(3)); {HEAVY}")
    assert first == f"[0. 1. 2.]\n{list(COMPILER)}"
    assert again == "[0. 1. 2.]\n[]"


def test_a_kernel_that_is_compiled_may_call_one_that_was_read_back(tmp_path: Path) -> None:
    in_a_fresh_process(tmp_path, "steps(3)")
    assert in_a_fresh_process(tmp_path, "steps(3); print(total(4)); print(steps(2))") == "6.0\n[0. 1.]"
    assert in_a_fresh_process(tmp_path, "print(total(5)); print(steps(np.int32(3)))") == "10.0\n[0. 1. 2.]"


def test_a_kernel_that_was_read_back_still_raises(tmp_path: Path) -> None:
    program = "try: steps(-1)\nexcept ValueError as error: print(error)"
    assert in_a_fresh_process(tmp_path, program) == in_a_fresh_process(tmp_path, program) != ""


def test_a_cache_with_a_file_missing_is_made_anew(tmp_path: Path) -> None:
    in_a_fresh_process(tmp_path, "steps(3)")
    (gone,) = (tmp_path / "cache").rglob("*.nbc")
    gone.unlink()
    assert in_a_fresh_process(tmp_path, "print(steps(3))") == "[0. 1. 2.]"
    assert gone.exists()


def test_under_another_numba_kernels_are_read_back_its_own_way(tmp_path: Path) -> None:
    program = """import numba; numba.version_info = (1, 0); print(total(4), "samovar.jit_cache" in sys.modules)"""
    assert in_a_fresh_process(tmp_path, program) == in_a_fresh_process(tmp_path, program) == "6.0 False"
    assert in_a_fresh_process(tmp_path, "print(total(4))") == "6.0"
