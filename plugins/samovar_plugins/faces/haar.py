"""Faces, found by a cascade of Haar features (Viola and Jones, 2001; Lienhart and Maydt, 2002) as OpenCV has them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samovar.errors import InputError, MissingExtraError, PromptError
from samovar.image import Image
from samovar.prompts import Prompts

__all__ = ["HaarFaces"]

# Of the frontal cascades that OpenCV has, this one names the fewest things that are no faces.
_DEFAULT = "haarcascade_frontalface_alt2.xml"
_LABEL = "face"
_LONGEST = 1280  # pixels that the image's longer side is scaled down to before it is searched
_SMALLEST = 1 / 30  # of the longer side
_STEP = 1.1  # between the sizes that are searched
_VOTES = 5  # overlapping finds that make a face


class HaarFaces:
    """Boxes around faces, labelled "face", in the order of reading. Any number of threads may use it at once.

    Upright faces seen from the front, of at least a thirtieth of the image's longer side. Nothing is downloaded, and
    the same image gives the same boxes.

    Args:
        cascade: a cascade file, or the name of one that OpenCV has ("haarcascade_profileface.xml"); for frontal faces
            by default. Whatever it finds is labelled "face".

    Raises:
        MissingExtraError: an OpenCV without cascades (5 and later).
        InputError: no such cascade, or a file that is none.
    """

    def __init__(self, cascade: str | None = None) -> None:
        if not hasattr(cv2, "CascadeClassifier"):
            raise MissingExtraError(
                f"faces needs OpenCV's cascades, which OpenCV {cv2.__version__} does not have; "
                'run: pip install "opencv-python-headless>=4.8,<5"'
            )
        self._path = _find(cascade or _DEFAULT)
        self._local = threading.local()  # a classifier keeps state while it searches, so each thread has its own
        self._classifier()

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        """One box per face; none where there is no face. Raises ImageError for an image that cannot be read."""
        if requests is not None:
            raise PromptError("faces answers no requests; convert prompts with another source")
        return [self._of(image.pixels) for image in images]

    def _of(self, pixels: NDArray[np.uint8]) -> Prompts:
        height, width = pixels.shape[:2]
        scale = min(1.0, _LONGEST / max(height, width))
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        smallest = max(20, round(max(grey.shape) * _SMALLEST))
        found = self._classifier().detectMultiScale(
            cv2.equalizeHist(grey), scaleFactor=_STEP, minNeighbors=_VOTES, minSize=(smallest, smallest)
        )
        # OpenCV searches in parallel and gives no order.
        rows = sorted((y, x, w, h) for x, y, w, h in np.asarray(found, np.int64).reshape(-1, 4).tolist())
        stretch = np.array([width / grey.shape[1], height / grey.shape[0]] * 2)
        boxes = np.array([(x, y, x + w, y + h) for y, x, w, h in rows], np.float64).reshape(-1, 4) * stretch
        boxes = np.clip(boxes, 0, [width, height, width, height])
        return Prompts.from_boxes(boxes.astype(np.float32), labels=[_LABEL] * len(boxes))

    def _classifier(self) -> cv2.CascadeClassifier:
        classifier: cv2.CascadeClassifier | None = getattr(self._local, "classifier", None)
        if classifier is None:
            classifier = self._local.classifier = _loaded(self._path)
        return classifier


def _loaded(path: Path) -> cv2.CascadeClassifier:
    expected = InputError(f"{path}: expected a cascade of OpenCV's (an .xml file); got something else")
    try:
        if b"<opencv_storage" not in path.read_bytes()[:65_536]:
            raise expected  # before OpenCV, which would also complain on standard error
        classifier = cv2.CascadeClassifier(str(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (cv2.error, SystemError) as error:  # SystemError: how its bindings pass on what a constructor throws
        raise expected from error
    if classifier.empty():
        raise expected
    return classifier


def _find(cascade: str) -> Path:
    shipped = Path(str(import_module("cv2.data").haarcascades), cascade)
    for path in (Path(cascade), shipped):
        if path.is_file():
            return path
    raise InputError(f"no cascade {cascade!r}; expected a file, or the name of one that OpenCV has, such as {_DEFAULT}")
