"""Which name is meant by which image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samovar import Image
from samovar.errors import InputError, PromptError
from samovar_adapters.formats import NameIndex, name_of


def test_a_relative_path_is_found_wherever_the_folder_lies() -> None:
    index = NameIndex(["train/1.jpg", "val/1.jpg", "val/2.jpg"], "ann.json")
    assert index.find("/data/set/val/1.jpg") == 1
    assert index.find("/data/set/train/1.jpg") == 0
    assert index.find("/data/set/val/3.jpg") is None


def test_of_several_relative_paths_the_longest_is_meant() -> None:
    index = NameIndex(["1.jpg", "a/1.jpg"], "ann.json")
    assert index.find("/x/a/1.jpg") == 1
    assert index.find("/x/b/1.jpg") == 0


def test_a_file_that_was_moved_is_found_by_a_unique_name() -> None:
    index = NameIndex(["old/place/1.jpg", "old/place/2.jpg"], "ann.json")
    assert index.find("/new/2.jpg") == 1


def test_more_in_common_is_better() -> None:
    index = NameIndex(["old/a/1.jpg", "old/b/1.jpg"], "ann.json")
    assert index.find("/new/b/1.jpg") == 1


def test_a_name_that_fits_several_equally_well_is_an_error_naming_them() -> None:
    index = NameIndex(["a/1.jpg", "b/1.jpg"], "ann.json")
    with pytest.raises(PromptError, match=r"ann\.json has a/1\.jpg and b/1\.jpg"):
        index.find("/c/1.jpg")


def test_two_images_cannot_share_a_name() -> None:
    index = NameIndex(["1.jpg"], "ann.json")
    assert index.find("/train/1.jpg") == 0
    assert index.find("/train/1.jpg") == 0
    with pytest.raises(PromptError, match=r"could be this image or /train/1\.jpg"):
        index.find("/val/1.jpg")


def test_an_image_elsewhere_does_not_get_what_belongs_to_the_right_one() -> None:
    index = NameIndex(["train/1.jpg"], "ann.json")
    assert index.find("/data/train/1.jpg") == 0
    assert index.find("/data/val/1.jpg") is None


def test_backslashes_and_dots_mean_folders_too() -> None:
    index = NameIndex([".\\a\\1.jpg", "./b/1.jpg"], "ann.json")
    assert index.find("/data/a/1.jpg") == 0
    assert index.find("/data/b/1.jpg") == 1


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"'./1\.jpg' is there twice"):
        NameIndex(["1.jpg", "./1.jpg"], "ann.json")


def test_images_without_a_file_go_by_their_names(tmp_path: Path) -> None:
    assert name_of(Image(np.zeros((2, 2, 3), np.uint8), name="a/b.jpg")) == "a/b.jpg"
    assert name_of(Image(tmp_path / "x" / ".." / "b.jpg", name="key")) == (tmp_path / "b.jpg").as_posix()
