"""`njit`: kernels compile on their first call, may call each other, and are still plain functions to read."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from samovar import jit
from samovar.jit import Kernel, njit


@njit
def doubled(value: int) -> int:
    """Twice the value."""
    return 2 * value


@njit
def summed(values: NDArray[np.int64]) -> int:
    total = 0
    for value in values:
        total += doubled(value)
    return total


def test_a_kernel_calls_other_kernels_by_name() -> None:
    assert summed(np.arange(5)) == 20


def test_a_kernel_keeps_its_name_its_documentation_and_its_python() -> None:
    assert isinstance(doubled, Kernel)
    assert doubled.__name__ == "doubled"
    assert doubled.__doc__ == "Twice the value."
    assert inspect.unwrap(doubled)(4) == 8


def test_nothing_is_compiled_before_the_first_call() -> None:
    @njit(fastmath=True)
    def halved(value: float) -> float:
        return value / 2

    assert halved._compiled is None
    assert halved(3.0) == 1.5
    assert halved._compiled is not None


def test_threads_that_call_a_kernel_first_at_once_share_one_compilation() -> None:
    @njit
    def tripled(value: int) -> int:
        return 3 * value

    gate, results = threading.Barrier(4), []

    def work() -> None:
        gate.wait()
        results.append((tripled(5), id(tripled.compiled)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(results)) == 1
    assert results[0][0] == 15


KERNELS = "from samovar.jit import njit\n@njit\ndef one(x: int) -> int:\n    return x + 1\n"


@pytest.mark.slow
def test_who_asks_is_told_once_of_compiling_and_not_of_reading_back(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    code = "import samovar.jit, kernels\nsamovar.jit.before_compiling(lambda: print('compiling'))\n"
    code += "print(kernels.one(1), kernels.one(1.5))"
    paths = os.pathsep.join([str(tmp_path), str(Path(jit.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run() == "compiling\n2 2.5\n"
    assert run() == "2 2.5\n"


def test_only_functions_become_kernels() -> None:
    with pytest.raises(TypeError, match="a kernel is a plain function; got type"):
        njit(int)(3)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX folders")
def test_kernels_run_where_no_folder_for_their_cache_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNELS)
    # No cache beside the file nor in a home: both are below plain files.
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "file").write_text("")
    blocked = str(tmp_path / "file" / "home")
    paths = [str(tmp_path), str(Path(jit.__file__).parents[1])]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": blocked,
        "XDG_CACHE_HOME": blocked,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", "import kernels; print(kernels.one(1))"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "2\n", done.stderr
