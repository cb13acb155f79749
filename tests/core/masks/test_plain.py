"""A few masks are answered without machine code, and to the last bit as with it."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given

from samovar.masks import Masks
from samovar.masks.coco import _write
from samovar.masks.measure import _measure
from samovar.masks.scan import paint
from tests.core.masks.shapes import Stack, stacks


@given(stack=stacks(max_side=50))
def test_plain_functions_do_what_their_machine_code_does(stack: Stack) -> None:
    masks = Masks.from_array(stack)
    _write.compiled, _measure.compiled, paint.compiled  # noqa: B018  (loads them)
    compiled = masks.to_coco_rle(), masks.areas.tolist(), masks.boxes.tolist(), masks.to_array()
    with pytest.MonkeyPatch.context() as patched:
        for kernel in (_write, _measure, paint):
            patched.setattr(kernel, "_compiled", None)
        patched.setattr("samovar.jit._imported", lambda: False)
        patched.setattr("samovar.jit.FEW", 1 << 60)
        again = Masks.from_runs(masks.runs.counts, masks.runs.offsets, masks.width, masks.height)
        plain = again.to_coco_rle(), again.areas.tolist(), again.boxes.tolist(), again.to_array()
        assert not any(kernel.loaded for kernel in (_write, _measure, paint))
    assert plain[:3] == compiled[:3]
    assert np.array_equal(plain[3], compiled[3])
    assert plain[3].flags.c_contiguous
    assert np.array_equal(plain[3], stack)


USE = """
import sys
import numpy as np
from samovar.masks import Masks
masks = Masks.from_runs(np.tile([50, 20, 30], {count}), np.arange({count} + 1) * 3, 10, 10)
masks.to_coco_rle(), masks.areas, masks.boxes, masks.to_array()
print("numba" in sys.modules)
"""


def imports_numba(code: str) -> bool:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip() == "True"


@pytest.mark.parametrize(("count", "loads"), [(1, False), (3, False), (30_000, True)])
def test_numba_is_loaded_for_many_masks_and_not_for_one(count: int, loads: bool) -> None:
    assert imports_numba(USE.format(count=count)) is loads


def test_who_goes_on_asking_for_one_soon_has_the_machine_code() -> None:
    again = USE.format(count=300).replace("masks.to_coco_rle(), ", "[masks.to_coco_rle() for _ in range(100)], ")
    assert imports_numba(again)


def test_what_has_loaded_numba_already_gets_nothing_but_machine_code() -> None:
    code = USE.format(count=1).replace("import numpy", "import numba\nimport numpy")
    code = code.replace('"numba" in sys.modules', "__import__('samovar.masks.coco').masks.coco._write.loaded")
    assert imports_numba(code)
