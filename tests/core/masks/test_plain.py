"""A few masks are answered without machine code, and to the last bit as with it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numba  # noqa: F401  # with which nothing in this process is answered by plain functions
import numpy as np
import pytest

from samovar.masks import Masks

PLAIN = """
import pickle
import sys
from samovar.masks import Masks
with open(sys.argv[1], "rb") as file:
    given = pickle.load(file)
answers = []
for counts, offsets, width, height in given:
    masks = Masks.from_runs(counts, offsets, width, height)
    answers.append((masks.to_coco_rle(), masks.areas, masks.boxes, masks.to_array()))
assert "numba" not in sys.modules
with open(sys.argv[1], "wb") as file:
    pickle.dump(answers, file)
"""


def test_plain_functions_do_what_their_machine_code_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    stacks = [np.zeros((0, 3, 4), bool), np.zeros((2, 3, 4), bool), np.ones((1, 1, 1), bool), np.ones((1, 5, 2), bool)]
    stacks += [rng.random((2, *rng.integers(1, 20, 2))) < rng.random() for _ in range(60)]
    compiled = [Masks.from_array(stack) for stack in stacks]
    file = tmp_path / "masks"
    runs = [masks.runs for masks in compiled]
    file.write_bytes(pickle.dumps([(one.counts, one.offsets, one.width, one.height) for one in runs]))
    subprocess.run([sys.executable, "-c", PLAIN, str(file)], check=True)
    for stack, masks, (rles, areas, boxes, array) in zip(
        stacks, compiled, pickle.loads(file.read_bytes()), strict=True
    ):
        assert rles == masks.to_coco_rle()
        np.testing.assert_array_equal(areas, masks.areas)
        np.testing.assert_array_equal(boxes, masks.boxes)
        np.testing.assert_array_equal(array, stack)
        assert array.flags.c_contiguous


USE = """
import sys
import numpy as np
from samovar.masks import Masks
masks = Masks.from_runs(np.tile([50, 20, 30], {count}), np.arange({count} + 1) * 3, 10, 10)
masks.to_coco_rle(), masks.areas, masks.boxes, masks.to_array()
print("numba" in sys.modules)
"""


def says_true(code: str, **environment: str) -> bool:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env={**os.environ, **environment}
    )
    return done.stdout.strip() == "True"


@pytest.mark.slow
@pytest.mark.parametrize(("count", "loads"), [(1, False), (3, False), (30_000, True)])
def test_numba_is_loaded_for_many_masks_and_not_for_one(count: int, loads: bool) -> None:
    assert says_true(USE.format(count=count)) is loads


@pytest.mark.slow
def test_who_goes_on_asking_for_one_soon_has_the_machine_code() -> None:
    again = USE.format(count=300).replace("masks.to_coco_rle(), ", "[masks.to_coco_rle() for _ in range(100)], ")
    assert says_true(again)


@pytest.mark.slow
def test_what_has_loaded_numba_already_gets_nothing_but_machine_code(tmp_path: Path) -> None:
    code = USE.format(count=1).replace("import numpy", "import numba\nimport numpy")
    code = "from samovar.jit import before_compiling\ntold = []\nbefore_compiling(lambda: told.append(True))\n" + code
    code = code.replace("masks.to_coco_rle(), masks.areas, masks.boxes, masks.to_array()", "masks.to_coco_rle()")
    assert says_true(code.replace('"numba" in sys.modules', "told == [True]"), NUMBA_CACHE_DIR=str(tmp_path))
