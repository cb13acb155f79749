"""Tensors are taken without importing torch. The whole file skips where torch is not installed."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from samovar.errors import ImageError
from samovar.image import Image
from tests.hostile import photo

PIXELS = photo(31, 20)
GREY = PIXELS[:, :, 0]

torch = pytest.importorskip("torch", reason="torch is not installed, so there is no tensor to pass")


def test_tensors_are_channels_first_if_their_first_axis_can_be_channels() -> None:
    tensor = torch.from_numpy(PIXELS.copy())
    np.testing.assert_array_equal(Image(tensor.permute(2, 0, 1)).pixels, PIXELS)
    np.testing.assert_array_equal(Image(tensor).pixels, PIXELS)
    np.testing.assert_array_equal(Image(tensor[:, :, 0]).pixels[:, :, 2], GREY)
    np.testing.assert_array_equal(Image(tensor[None, :, :, 0]).pixels[:, :, 2], GREY)
    assert Image(torch.zeros(3, 8, 3, dtype=torch.uint8)).pixels.shape == (8, 3, 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_float_tensors_need_a_value_range(dtype: str) -> None:
    tensor = torch.tensor([[0.0, 0.5, 1.0]], dtype=getattr(torch, dtype), requires_grad=True)
    assert Image(tensor, value_range=(0, 1)).pixels[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(ImageError, match=r"^tensor: expected uint8 pixels, got float.*value_range"):
        Image(tensor)


def test_changing_the_callers_tensor_does_not_change_the_image() -> None:
    tensor = torch.from_numpy(PIXELS.copy())
    image = Image(tensor)
    tensor.zero_()
    np.testing.assert_array_equal(image.pixels, PIXELS)


def test_a_tensor_that_is_no_dense_picture_is_refused_in_one_line() -> None:
    for tensor in (torch.zeros(2, 3).to_sparse(), torch.zeros(2, 3, device="meta"), torch.zeros(1, 3, 4, 5)):
        with pytest.raises(ImageError, match=r"^tensor: expected"):
            Image(tensor)


@pytest.mark.slow  # imports torch
def test_taking_an_image_imports_no_torch() -> None:
    code = (
        "import sys, numpy; from samovar import Image; Image(numpy.zeros((2, 2), numpy.uint8)).pixels; "
        "assert 'torch' not in sys.modules, 'torch was imported'; import torch; assert 'torch' in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
