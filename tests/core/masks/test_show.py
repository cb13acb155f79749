"""Masks as people look at them: drawn, saved, in a notebook, and in one line."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageShow

from samovar import Embedding, Image, Masks, Prompt, Prompts, Runtime
from samovar.errors import ImageError, MaskError, MissingExtraError, SamovarError
from samovar.masks.draw import draw_overlay
from tests.fakes import FilledBoxes


def two() -> Masks:
    stack = np.zeros((2, 60, 80), bool)
    stack[0, 5:40, 5:40] = True
    stack[1, 20:55, 45:75] = True
    return Masks.from_array(stack).replace(labels=["cup", "<tea>"], scores=[0.981, 0.5])


PHOTO = np.full((60, 80, 3), 200, np.uint8)


def test_masks_are_drawn_on_the_image_or_on_a_dark_ground() -> None:
    drawn = two().draw(PHOTO)
    np.testing.assert_array_equal(drawn, draw_overlay(Image(PHOTO), two()))
    assert drawn[0, 0].tolist() == [200, 200, 200]
    assert two().draw().shape == (60, 80, 3)
    assert two().draw(tags=False)[0, 0].max() < 40
    with pytest.raises(MaskError, match="the masks are 80×60 but the image is 8×6"):
        two().draw(PHOTO[:6, :8])


def test_masks_remember_the_file_that_they_were_segmented_in(tmp_path: Path) -> None:
    file = tmp_path / "street.png"
    Pillow.fromarray(PHOTO).save(file)
    masks = Runtime(FilledBoxes()).segment(file, [(5, 5, 40, 40), (45, 20, 75, 55)])
    for some in (masks, masks.replace(labels=["cup", "tea"]), masks[1], masks[::-1], masks.remove_small_regions(3)):
        np.testing.assert_array_equal(some.draw(), some.draw(PHOTO))
    assert masks[0].draw(np.zeros_like(PHOTO))[0, 0].max() == 0
    assert masks.crop((0, 0, 50, 50)).draw().shape == (50, 50, 3)
    with Pillow.open(io.BytesIO(masks._repr_png_())) as image:
        np.testing.assert_array_equal(np.asarray(image), masks.draw(PHOTO))
    again = pickle.loads(pickle.dumps(masks))
    assert again.equals(masks)
    assert again.draw()[0, 0].max() < 40
    file.unlink()
    assert masks._repr_html_().startswith("<img")
    with pytest.raises(ImageError, match="no such file"):
        masks.draw()
    assert Runtime(FilledBoxes()).segment(PHOTO, (5, 5, 40, 40)).draw()[0, 0].max() < 40


@pytest.mark.parametrize("suffix", [".png", ".JPG", ".webp"])
def test_masks_are_saved_as_an_image_file(tmp_path: Path, suffix: str) -> None:
    two().save(tmp_path / f"masks{suffix}", PHOTO)
    with Pillow.open(tmp_path / f"masks{suffix}") as image:
        assert image.size == (80, 60)
        if suffix == ".png":
            np.testing.assert_array_equal(np.asarray(image), two().draw(PHOTO))


@pytest.mark.parametrize("name", ["masks.json", "masks"])
def test_another_suffix_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(MaskError, match=r"masks are drawn to \.png, .*; for annotation files use a sink"):
        two().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_masks_and_images_are_shown_in_the_systems_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.delitem(sys.modules, "IPython", raising=False)

    def viewer(image: Pillow.Image, title: str) -> bool:
        seen.append((np.asarray(image), title))
        return True

    monkeypatch.setattr(ImageShow, "show", viewer)
    two().show(PHOTO)
    Image(PHOTO, name="street").show()
    np.testing.assert_array_equal(seen[0][0], two().draw(PHOTO))
    np.testing.assert_array_equal(seen[1][0], PHOTO)
    assert seen[1][1] == "street"
    monkeypatch.setattr(ImageShow, "show", lambda image, title: False)
    with pytest.raises(SamovarError, match="found none; save it to a file"):
        two().show()


def test_in_a_notebook_they_are_shown_below_the_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    display, shell = ModuleType("IPython.display"), ModuleType("IPython")
    display.display = seen.append  # type: ignore[attr-defined]
    shell.get_ipython = lambda: SimpleNamespace(kernel=None)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    two().show(PHOTO)
    np.testing.assert_array_equal(np.asarray(seen[0]), two().draw(PHOTO))


def test_masks_are_plotted_on_matplotlib_s_axes(monkeypatch: pytest.MonkeyPatch) -> None:
    pyplot = ModuleType("matplotlib.pyplot")
    package = ModuleType("matplotlib")
    package.pyplot = pyplot  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matplotlib", package)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", pyplot)
    shown: list[Any] = []
    axes = SimpleNamespace(imshow=shown.append, set_axis_off=lambda: None)
    pyplot.gca = lambda: axes  # type: ignore[attr-defined]
    assert two().plot(PHOTO) is axes
    assert two().plot(ax=axes) is axes
    np.testing.assert_array_equal(shown[0], two().draw(PHOTO))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match="pip install matplotlib"):
        two().plot()


@pytest.mark.parametrize("masks", [two(), Masks.empty(3000, 2), Masks.empty(2, 3000), two().resize(4000, 3000)])
def test_a_notebook_shows_a_small_image_and_a_table(masks: Masks) -> None:
    with Pillow.open(io.BytesIO(masks._repr_png_())) as image:
        assert max(image.size) <= 1000
    text = masks._repr_html_()
    assert text.count("<tr>") == 1 + len(masks)
    assert "<tea>" not in text
    assert ("&lt;tea&gt;" in text) == bool(len(masks))
    many = Masks.concat([two()] * 20)._repr_html_()
    assert "and 10 more" in many


def test_a_notebook_shows_a_large_image_reduced() -> None:
    with Pillow.open(io.BytesIO(Image(np.zeros((1500, 3000, 3), np.uint8))._repr_png_())) as image:
        assert image.size == (1000, 500)
    with Pillow.open(io.BytesIO(Image(PHOTO)._repr_png_())) as image:
        np.testing.assert_array_equal(np.asarray(image), PHOTO)


def test_one_line_says_what_there_is() -> None:
    assert repr(two()) == "Masks(2 of a 80×60 image; labels cup, <tea>; scores 0.98, 0.50)"
    assert repr(Masks.concat([two()] * 4)[1:].replace(scores=[1] * 7)) == (
        "Masks(7 of a 80×60 image; labels <tea>, cup, <tea>, cup, <tea>, …)"
    )
    assert repr(Prompt(box=(0.1, 2, 30, 40), label="cup")) == "Prompt(box=[0.1, 2, 30, 40], label='cup')"
    assert repr(Prompt(points=[(1, 2), (3, 4)])) == "Prompt(points=[[1, 2], [3, 4]])"
    clicks = Prompt(points=[(1, 2), (3, 4)], point_labels=[1, 0], mask=np.full((4, 8), -1.0))
    assert repr(clicks) == "Prompt(points=[[1, 2], [3, 4]], point_labels=[1, 0], mask=<4×8 logits>)"
    assert repr(Prompts.of([Prompt(text="cat", id=3), clicks])) == "Prompts(2; kinds points, mask, text)"
    assert repr(Prompts.from_boxes([])) == "Prompts(0)"
    made = Embedding({"grid": np.zeros((2, 3), np.float32)}, 60, 40, "abc")
    assert repr(made) == "Embedding(of a 60×40 image by abc: grid 2×3)"
