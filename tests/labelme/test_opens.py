"""labelme itself: it opens what the sink writes, and the source reads what it saves. Run by `nox -s labelme`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Image, Masks
from samovar_adapters.formats import LabelmeSink
from samovar_adapters.formats.labelme import masks as masks_of

pytest.importorskip("labelme")

# The window, without a screen: opens a file, says what is drawn on the canvas, and saves the file again.
OPEN = """
import json, sys
from PyQt5 import QtWidgets
application = QtWidgets.QApplication(["labelme"])
from labelme.app import MainWindow
window = MainWindow(file_or_dir=sys.argv[1], config_overrides={"with_image_data": False})
window.show()
application.processEvents()
canvas = window._canvas_widgets.canvas
drawn = [(shape.label, shape.group_id, [[point.x(), point.y()] for point in shape.points]) for shape in canvas.shapes]
window.save_labels(sys.argv[1])
print(json.dumps({"size": [canvas.pixmap.width(), canvas.pixmap.height()], "shapes": drawn}))
"""


def opened(file: Path, home: Path) -> dict[str, object]:
    """What labelme shows of `file`; it is saved again on the way."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(file)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    shown: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return shown


@pytest.fixture
def drawn(tmp_path: Path) -> tuple[Path, Image, Masks]:
    """A picture's file, and what has been drawn on it: a ring, and two parts of one mask."""
    y, x = np.mgrid[:60, :80]
    distance = np.hypot(x - 25, y - 30)
    parts = ((x > 50) & (x < 60) & (y > 5) & (y < 20)) | ((x > 62) & (x < 75) & (y > 30) & (y < 55))
    masks = Masks.from_array(np.stack([(distance < 20) & (distance > 8), parts])).replace(labels=["ring", "pair"])
    Pillow.new("RGB", (80, 60), (90, 120, 30)).save(tmp_path / "a.png")
    image = Image(tmp_path / "a.png")
    with LabelmeSink(tmp_path, tolerance=0.5) as sink:
        sink.write("a.png", image, masks)
    return tmp_path / "a.json", image, masks


def test_it_shows_every_part_where_it_is(drawn: tuple[Path, Image, Masks], tmp_path: Path) -> None:
    file, _, masks = drawn
    shown = opened(file, tmp_path)
    assert shown["size"] == [80, 60]
    shapes = shown["shapes"]
    assert isinstance(shapes, list)
    assert [label for label, _, _ in shapes] == ["ring", "pair", "pair"]
    ring, one, other = (points for _, _, points in shapes)
    again = Masks.from_polygons([[ring], [one, other]], 80, 60)
    assert again.equals(masks)
    assert shapes[1][1] == shapes[2][1] is not None


def test_what_it_saves_again_is_read_as_the_same_masks(drawn: tuple[Path, Image, Masks], tmp_path: Path) -> None:
    file, image, masks = drawn
    opened(file, tmp_path)
    [prompts] = masks_of(str(file.parent)).prompts([image])
    assert [prompt.label for prompt in prompts] == ["ring", "pair"]
    for prompt, mask in zip(prompts, masks):
        assert isinstance(prompt.mask, Masks)
        assert prompt.mask.equals(mask)
