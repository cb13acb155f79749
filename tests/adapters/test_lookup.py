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


def test_a_folder_that_was_moved_is_found_by_a_unique_end() -> None:
    index = NameIndex(["old/place/1.jpg", "old/place/2.jpg"], "ann.json")
    assert index.find("/new/place/2.jpg") == 1


def test_the_name_of_a_file_alone_is_no_match_across_folders() -> None:
    index = NameIndex(["train/1.jpg", "1.png"], "ann.json")
    assert index.find("/data/test/1.jpg") is None
    assert index.find("/data/test/1.png") == 1  # this one names no folder


def test_who_is_meant_does_not_depend_on_the_order_once_all_are_known() -> None:
    """Two folders hold a picture of the same name, one of which is annotated."""
    images = ["/photos/backgrounds/1.jpg", "/photos/dogs/1.jpg"]
    for order in (images, images[::-1]):
        index = NameIndex(["photos/dogs/1.jpg", "2.jpg"], "ann.json")
        assert index.expect([[name] for name in order]) == 1
        assert [index.find(name) for name in images] == [None, 0]
        assert index.notes() == ["ann.json: of its 2 images 1 were not among those given, such as 2.jpg"]


def test_two_images_of_one_name_are_both_refused_in_any_order() -> None:
    images = ["/photos/a/1.jpg", "/photos/b/1.jpg"]
    index = NameIndex(["1.jpg"], "ann.json")
    index.expect([[name] for name in images])
    for name, other in (images, images[::-1]):
        with pytest.raises(PromptError, match=f"could be this image or {other}"):
            index.find(name)


def test_the_image_in_the_place_of_a_file_comes_first() -> None:
    images = ["/set/cats/1", "/set/dogs/1"]
    index = NameIndex(["1"], "dogs", places=["/set/dogs/1"])
    index.expect([[name] for name in images])
    assert [index.find(name) for name in images] == [None, 0]


def test_names_that_fit_no_image_are_said() -> None:
    index = NameIndex(["train/1.jpg"], "ann.json")
    assert index.expect([["/photos/1.jpg"]]) == 0
    [line] = index.notes()
    assert line.startswith("ann.json names none of the images, 1 given (/photos/1.jpg); it has such as train/1.jpg;")


def test_more_in_common_is_better() -> None:
    index = NameIndex(["old/a/1.jpg", "old/b/1.jpg"], "ann.json")
    assert index.find("/new/b/1.jpg") == 1


def test_a_name_that_fits_several_equally_well_is_an_error_naming_them() -> None:
    index = NameIndex(["a/x/1.jpg", "b/x/1.jpg"], "ann.json")
    with pytest.raises(PromptError, match=r"ann\.json has a/x/1\.jpg and b/x/1\.jpg"):
        index.find("/c/x/1.jpg")


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
