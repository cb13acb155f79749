"""The face source: OpenCV's own detector, on real photos."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest

from samovar import Image, Prompts
from samovar.errors import InputError, MissingExtraError, PromptError
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_plugins.faces.haar import HaarFaces


@pytest.fixture
def portrait(repository: Path) -> Image:
    return Image(repository / "docs" / "assets" / "portrait.jpg")


@pytest.fixture
def source() -> HaarFaces:
    return HaarFaces()


class TestFaces(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box",)

    @pytest.fixture
    def source(self) -> HaarFaces:
        return HaarFaces()

    @pytest.fixture
    def images(self, portrait: Image, photo: Path) -> list[Image]:
        return [portrait, Image(photo), Image(np.zeros((1, 1, 3), np.uint8)), Image(np.zeros((9, 400, 3), np.uint8))]


def test_the_one_face_of_the_portrait_is_found(source: HaarFaces, portrait: Image) -> None:
    (prompts,) = source.prompts([portrait])
    assert prompts.labels == ("face",)
    x1, y1, x2, y2 = prompts.boxes[0]
    assert x1 < 200 < 245 < x2, "the eyes"
    assert y1 < 110 < 145 < y2, "from eyes to mouth"
    assert (x2 - x1) * (y2 - y1) < 150**2


def test_a_photo_without_faces_gives_no_prompts(source: HaarFaces, photo: Path) -> None:
    assert [len(prompts) for prompts in source.prompts([Image(photo)])] == [0]


def test_faces_of_real_photos_are_found(source: HaarFaces, data_folder: Path) -> None:
    """Two people behind a cake, and two of the three on a sofa, looked up by eye."""
    expected = {
        "cocotr__000000000113.jpg": [(115, 105), (237, 125)],
        "bsdstr__189003.jpg": [(100, 178), (354, 130)],
    }
    for name, centres in expected.items():
        (prompts,) = source.prompts([Image(data_folder / "masks" / "images" / name)])
        for x, y in centres:
            inside = [box for box in prompts.boxes if box[0] < x < box[2] and box[1] < y < box[3]]
            assert len(inside) == 1, f"{name}: {prompts.boxes.tolist()}"


@pytest.mark.slow
def test_a_large_photo_gives_the_same_faces_as_a_small_one(source: HaarFaces, portrait: Image) -> None:
    large = Image(cv2.resize(np.array(portrait.pixels), None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC))
    small, big = source.prompts([portrait, large])
    assert np.abs(big.boxes / 5 - small.boxes).max() < 10


@pytest.mark.slow
def test_faces_come_in_the_order_of_reading_and_always_the_same(source: HaarFaces, data_folder: Path) -> None:
    image = Image(data_folder / "masks" / "images" / "cocotr__000000000536.jpg")

    def look(_: int) -> Prompts:
        return source.prompts([image])[0]

    with ThreadPoolExecutor(4) as pool:
        answers = [prompts.boxes.tolist() for prompts in pool.map(look, range(12))]
    assert all(boxes == answers[0] for boxes in answers)
    assert len(answers[0]) >= 2
    assert answers[0] == sorted(answers[0], key=lambda box: (box[1], box[0]))


def test_another_cascade_may_be_named_or_given_as_a_file(portrait: Image, tmp_path: Path) -> None:
    name = "haarcascade_eye.xml"
    eyes = HaarFaces(name).prompts([portrait])[0]
    assert len(eyes) >= 2
    from importlib import import_module

    copy = tmp_path / "mine.xml"
    copy.write_bytes(Path(import_module("cv2.data").haarcascades, name).read_bytes())
    assert np.array_equal(HaarFaces(str(copy)).prompts([portrait])[0].boxes, eyes.boxes)


def test_an_unknown_cascade_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no cascade 'dogs'; expected a file, or the name of one that OpenCV has"):
        HaarFaces("dogs")


@pytest.mark.parametrize("text", ["", "not XML", "<opencv_storage><a>1</a></opencv_storage>"])
def test_a_file_that_is_no_cascade_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=r"a\.xml: expected a cascade of OpenCV's") as caught:
        HaarFaces(str(tmp_path / "a.xml"))
    assert "\n" not in str(caught.value)


def test_an_opencv_without_cascades_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(MissingExtraError, match=r'pip install "opencv-python-headless>=4\.8,<5"'):
        HaarFaces()


def test_prompts_that_need_conversion_are_refused(source: HaarFaces, portrait: Image) -> None:
    with pytest.raises(PromptError, match="answers no requests"):
        source.prompts([portrait], [Prompts.from_boxes([[0, 0, 5, 5]])])
