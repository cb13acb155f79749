"""Runs from low-resolution logits are byte for byte those of enlarging them as published and encoding the result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco
from torch.nn import functional

from samovar.masks import Masks
from samovar_plugins.toolkit import Axis, Interpolation, ResizeLongestSide, direct, through_square
from samovar_plugins.toolkit.outlines import FEW, Outlines, _outline, outline, stability

FRAME = 1024


def smooth(count: int, side: int, seed: int, scale: float) -> NDArray[np.float32]:
    """Logits with blobs of about a tenth of the side, and some fine noise."""
    random = np.random.default_rng(seed)
    coarse = torch.from_numpy(random.normal(0, scale, (count, 1, 10, 10)).astype(np.float32))
    blobs: NDArray[np.float32] = functional.interpolate(coarse, (side, side), mode="bicubic")[:, 0].numpy()
    return blobs + random.normal(0, scale / 50, blobs.shape).astype(np.float32)


def published(logits: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """As SAM enlarges them: to the frame, cut to the image's part of it, to the image."""
    rows, columns = ResizeLongestSide(FRAME).used(size[1], size[0])
    framed = functional.interpolate(
        torch.from_numpy(logits)[None], (FRAME, FRAME), mode="bilinear", align_corners=False
    )
    return interpolated(framed[0, :, :rows, :columns].numpy(), size, "bilinear")


def interpolated(logits: NDArray[np.float32], size: tuple[int, int], mode: str) -> NDArray[np.float32]:
    enlarged: NDArray[np.float32] = functional.interpolate(
        torch.from_numpy(logits)[None], size, mode=mode, align_corners=False
    )[0].numpy()
    return enlarged


def encoded(masks: NDArray[np.bool_]) -> list[bytes]:
    return [coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"] for mask in masks]


def compressed(outlines: Outlines, size: tuple[int, int]) -> list[bytes]:
    pairs = zip(outlines.offsets, outlines.offsets[1:])
    rles: list[dict[str, Any]] = [
        coco.frPyObjects({"size": list(size), "counts": outlines.counts[start:stop].tolist()}, *size)
        for start, stop in pairs
    ]
    return [rle["counts"] for rle in rles]


def assert_same(outlines: Outlines, enlarged: NDArray[np.float32]) -> None:
    """Byte for byte; only a pixel that torch enlarged to within rounding of 0 may come out on the other side."""
    size = enlarged.shape[1], enlarged.shape[2]
    if compressed(outlines, size) != encoded(enlarged > 0):
        masks = Masks.from_runs(outlines.counts, outlines.offsets, size[1], size[0]).to_array()
        doubtful = np.abs(enlarged) <= 4 * np.finfo(np.float32).eps * np.abs(enlarged).max()
        assert (doubtful | (masks == (enlarged > 0))).all()


def sams(side: int, size: tuple[int, int]) -> Interpolation:
    return through_square((side, side), FRAME, ResizeLongestSide(FRAME).used(size[1], size[0]), size)


@pytest.mark.slow
@example(513, 200, 65536, 5.0)  # has a pixel of 1.9e-9
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 2**31), st.sampled_from([0.3, 5.0]))
@settings(max_examples=40)
def test_sams_masks_of_any_size_are_byte_identical(height: int, width: int, seed: int, scale: float) -> None:
    logits = smooth(2, 256, seed, scale)
    assert_same(outline(logits, sams(256, (height, width))), published(logits, (height, width)))


@pytest.mark.parametrize("size", [(1500, 1000), (2400, 3600), (1, 1), (1, 700), (9000, 30)])
def test_sams_masks_of_large_and_odd_images_are_byte_identical(size: tuple[int, int]) -> None:
    logits = smooth(3, 256, seed=7, scale=4.0)
    assert compressed(outline(logits, sams(256, size)), size) == encoded(published(logits, size) > 0)


@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.sampled_from([16, 64]),
    st.sampled_from(["bilinear", "bicubic"]),
    st.integers(0, 99),
)
@settings(max_examples=40)
def test_masks_by_one_interpolation_are_byte_identical(
    height: int, width: int, side: int, mode: str, seed: int
) -> None:
    logits = smooth(2, side, seed, scale=3.0)
    enlarged = interpolated(logits, (height, width), mode)
    assert_same(outline(logits, direct((side, side), (height, width), mode)), enlarged)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_noise_in_which_every_cell_is_mixed_is_byte_identical(mode: str) -> None:
    logits = np.random.default_rng(3).normal(size=(2, 64, 64)).astype(np.float32)
    expected = encoded(interpolated(logits, (333, 217), mode) > 0)
    assert compressed(outline(logits, direct((64, 64), (333, 217), mode)), (333, 217)) == expected


@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_flat_logits_give_an_empty_or_a_full_mask(value: float) -> None:
    outlines = outline(np.full((1, 64, 64), value, np.float32), direct((64, 64), (20, 30)))
    assert outlines.counts.tolist() == ([0, 600] if value > 0 else [600])


def test_no_masks_give_no_runs() -> None:
    outlines = outline(np.zeros((0, 64, 64), np.float32), direct((64, 64), (20, 30)))
    assert len(outlines.counts) == 0
    assert outlines.offsets.tolist() == [0]


@pytest.mark.parametrize("threshold", [-2.0, 0.5, 3.0])
def test_other_thresholds_are_byte_identical(threshold: float) -> None:
    logits = smooth(3, 256, seed=11, scale=4.0)
    expected = encoded(published(logits, (480, 640)) > threshold)
    assert compressed(outline(logits, sams(256, (480, 640)), threshold), (480, 640)) == expected


def test_areas_are_those_of_the_masks() -> None:
    logits = smooth(4, 256, seed=5, scale=4.0)
    expected = (published(logits, (375, 500)) > 0).sum(axis=(1, 2))
    assert outline(logits, sams(256, (375, 500))).areas.tolist() == expected.tolist()


@pytest.mark.parametrize("offset", [0.5, 1.0])
def test_stability_is_that_of_sams_generator(offset: float) -> None:
    logits = np.concatenate([smooth(5, 256, seed=2, scale=4.0), np.full((1, 256, 256), -9, np.float32)])
    dense = published(logits, (427, 640))
    inner, outer = (dense > offset).sum(axis=(1, 2)), (dense > -offset).sum(axis=(1, 2))
    expected = np.where(outer > 0, inner / np.maximum(outer, 1), 0).astype(np.float32)
    np.testing.assert_array_equal(stability(logits, sams(256, (427, 640)), offset), expected)


@given(st.integers(4, 80), st.integers(1, 400), st.sampled_from(["bilinear", "bicubic"]))
def test_an_axis_holds_the_whole_interpolation(logits: int, pixels: int, mode: str) -> None:
    matrix = functional.interpolate(torch.eye(logits)[None, None], (pixels, logits), mode=mode, align_corners=False)[
        0, 0
    ]
    axis = Axis.of(matrix.numpy())
    rebuilt = np.zeros((pixels, logits), np.float32)
    taps = axis.starts[:, None] + np.arange(axis.weights.shape[1])
    np.put_along_axis(rebuilt, taps, axis.weights, axis=1)
    np.testing.assert_array_equal(rebuilt, matrix.numpy())
    assert (np.diff(axis.starts) >= 0).all()
    assert axis.excess == pytest.approx(-np.minimum(matrix.numpy(), 0).sum(axis=1).min(), abs=1e-7)


@pytest.mark.slow
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from(["through the frame", "bilinear", "bicubic"]),
    st.sampled_from([0.0, 0.5, -2.0]),
    st.integers(0, 2**31),
    st.booleans(),
)
@settings(max_examples=60)
def test_what_numpy_does_for_few_masks_is_what_the_kernel_does(
    height: int, width: int, way: str, threshold: float, seed: int, noisy: bool
) -> None:
    side = 256 if way == "through the frame" else 64
    logits = smooth(FEW, side, seed, scale=3.0)
    if noisy:
        logits += np.random.default_rng(seed).normal(size=logits.shape).astype(np.float32)
    interpolation = sams(256, (height, width)) if side == 256 else direct((64, 64), (height, width), way)
    _outline.compiled  # noqa: B018  (loads it)
    expected = outline(logits, interpolation, threshold)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_outline, "_compiled", None)
        patched.setattr("samovar.jit._imported", lambda: False)
        patched.setattr("samovar.jit.FEW", 1 << 60)
        found = outline(logits, interpolation, threshold)
        assert not _outline.loaded
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_array_equal(found.offsets, expected.offsets)
    assert (found.counts.dtype, found.offsets.dtype) == (expected.counts.dtype, expected.offsets.dtype)


def test_much_work_is_left_to_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A boundary through every cell of a large image, and an image too large for a byte a pixel."""
    noise = np.random.default_rng(0).normal(size=(1, 64, 64)).astype(np.float32)
    for logits, size in ((noise, (1500, 1500)), (smooth(1, 64, 1, 3.0), (9000, 9000))):
        monkeypatch.setattr(_outline, "_compiled", None)
        monkeypatch.setattr("samovar.jit._imported", lambda: False)
        monkeypatch.setattr("samovar.jit.FEW", 1 << 60)
        outline(logits, direct((64, 64), size))
        assert _outline.loaded


ONE_CLICK = """
import sys
import numpy as np
from samovar import Prompt, Runtime
from tests.plugins.sam.models import tiny
runtime = Runtime(tiny("sam"))
points = np.full(({clicks}, 2), 20.0, np.float32)
masks = runtime.segment(np.zeros((60, 80, 3), np.uint8), points, multimask=True)
assert len(masks) == 3 * {clicks}
print("numba" in sys.modules, "numpy.ma" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("clicks", "loads"), [(1, "False False"), (4, "True ")])
def test_a_single_click_loads_no_compiler(clicks: int, loads: str, repository: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    script = ONE_CLICK.format(clicks=clicks)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.startswith(loads)
