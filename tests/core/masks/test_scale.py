"""A thousand masks of a 12-megapixel image, and what is loaded to handle a few."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from samovar.masks import Masks
from tests.core.masks.shapes import blobs


@pytest.fixture(scope="module")
def thousand() -> Masks:
    """1,000 wavy masks of 600×600 pixels across a 4000×3000 image, made from their crops."""
    crops = blobs(20, 600)
    rng = np.random.default_rng(0)
    origins = np.stack([rng.integers(0, 3400, 1000), rng.integers(0, 2400, 1000)], axis=1)
    return Masks.from_crops([crops[index % 20] for index in range(1000)], origins, 4000, 3000)


@pytest.mark.slow
def test_a_thousand_masks_of_12_megapixels_stay_under_50_megabytes(thousand: Masks) -> None:
    assert thousand.areas.min() > 5000
    assert thousand.nbytes < 50e6


@pytest.mark.slow
def test_even_a_thousand_discs_over_the_whole_image_stay_under_50_megabytes() -> None:
    yy, xx = np.mgrid[:3000, :4000].astype(np.float32)
    disc = Masks.from_array((((xx - 2000) / 2000) ** 2 + ((yy - 1500) / 1500) ** 2 < 1)[None])
    assert disc.areas[0] > 9e6
    assert 1000 * disc.nbytes < 50e6


def test_a_thousand_masks_are_written_as_coco_rle_within_a_second(thousand: Masks) -> None:
    thousand[:1].to_coco_rle()  # compiles
    start = time.thread_time()
    rles = thousand.to_coco_rle()
    assert time.thread_time() - start < 1
    assert Masks.from_coco_rle(rles).equals(thousand)


def test_threads_that_share_masks_agree(thousand: Masks) -> None:
    expected = thousand.to_coco_rle()
    found: list[bool] = []

    def work() -> None:
        masks = Masks(thousand.runs, thousand.columns)
        found.append(masks.to_coco_rle() == expected and np.array_equal(masks.areas, thousand.areas))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def loaded_after(code: str) -> set[str]:
    """Which of the heavy modules a fresh interpreter has loaded after running `code`."""
    script = f"import sys, numpy as np\nfrom samovar.masks import Masks\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {"numba", "cv2", "scipy", "PIL", "torch"} & set(done.stdout.split())


def test_masks_that_need_no_kernel_load_no_numba() -> None:
    code = """
masks = Masks.from_coco_rle([{"size": [2, 3], "counts": [1, 2, 3]}, {"size": [2, 3], "counts": [6]}])
masks = Masks.concat([masks[1:], masks[:1]]).replace(labels=["a", "b"])
assert masks.to_coco_rle(compressed=False)[1]["counts"] == [1, 2, 3]
assert Masks.empty(3, 4).boxes.shape == (0, 4)
assert masks[0].union().equals(masks[0])
"""
    assert loaded_after(code) == set()


@pytest.mark.slow
def test_numba_is_seen_as_soon_as_a_kernel_is_called() -> None:
    assert loaded_after("Masks.from_array(np.ones((1, 2, 3), bool))") >= {"numba"}
