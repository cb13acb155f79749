"""Finding image files in folders, patterns and lists of paths."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from samovar.errors import ImageError
from samovar.image import find_images, image_suffixes
from tests.hostile import write_hostile_folder


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of empty files: what is in them is none of the search's business."""
    for name in [
        "b.jpg",
        "a.PNG",
        "c.tar.gz",
        "notes.txt",
        "README",
        "clip.mp4",
        "scan.pdf",
        ".hidden.jpg",
        "sub/d.jpeg",
        "sub/deep/e.webp",
        "sub2/f.tif",
        ".git/g.png",
        "photo[1].jpg",
    ]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


WALK = ["a.PNG", "b.jpg", "photo[1].jpg", "sub/d.jpeg", "sub/deep/e.webp", "sub2/f.tif"]


def test_a_folder_gives_its_images_recursively_in_order_and_passes_over_the_rest(album: Path) -> None:
    assert names(find_images(album), album) == WALK
    assert names(find_images([str(album)]), album) == WALK


def test_a_named_file_counts_whatever_its_suffix(album: Path) -> None:
    assert names(find_images([album / "notes.txt", album / ".hidden.jpg"]), album) == ["notes.txt", ".hidden.jpg"]


def test_the_order_is_that_of_the_paths_and_every_file_comes_once(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_images([album / "sub2", album / "b.jpg", album, album / "sub" / ".." / "b.jpg"])
    assert names(found, album) == [
        "sub2/f.tif",
        "b.jpg",
        *(name for name in WALK if name not in ("sub2/f.tif", "b.jpg")),
    ]
    monkeypatch.chdir(album)
    assert find_images(["b.jpg", "./b.jpg", album / "b.jpg"]) == [Path("b.jpg")]


def test_patterns_match_files_and_search_folders(album: Path) -> None:
    assert names(find_images(str(album / "*.jpg")), album) == ["b.jpg", "photo[1].jpg"]
    assert names(find_images(str(album / "**" / "*.jpeg")), album) == ["sub/d.jpeg"]
    assert names(find_images(str(album / "sub*")), album) == ["sub/d.jpeg", "sub/deep/e.webp", "sub2/f.tif"]
    assert names(find_images(str(album / "note?.txt")), album) == ["notes.txt"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(album: Path) -> None:
    assert names(find_images(album / "photo[1].jpg"), album) == ["photo[1].jpg"]


@pytest.mark.parametrize(
    ("path", "got"),
    [
        ("missing.jpg", "got no such path"),
        ("missing/", "got no such path"),
        ("*.xyz", "got no match"),
        ("", "no such path"),
    ],
)
def test_what_does_not_exist_is_named(album: Path, path: str, got: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album)
    with pytest.raises(ImageError) as caught:
        find_images(["b.jpg", path])
    assert str(caught.value).startswith(f"{path or repr(path)}: expected a")
    assert got in str(caught.value)


def test_a_missing_file_may_be_left_for_the_reader_to_report(album: Path) -> None:
    missing = album / "missing.jpg"
    assert find_images([missing, album / "b.jpg"], keep_missing=True) == [missing, album / "b.jpg"]
    with pytest.raises(ImageError, match="got no match"):
        find_images([album / "*.xyz"], keep_missing=True)


def test_a_folder_that_cannot_be_read_is_named_after_what_can(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (album / "closed").mkdir()
    plain = os.scandir

    def scandir(path: str) -> Any:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return plain(path)

    readable = find_images(album)
    monkeypatch.setattr(os, "scandir", scandir)
    assert find_images(album, keep_missing=True) == [*readable, album / "closed"]
    with pytest.raises(ImageError, match="closed: expected a folder that can be read, got Permission denied; change"):
        find_images(album)


def test_a_folder_without_images_gives_nothing(tmp_path: Path) -> None:
    assert find_images(tmp_path) == []


def test_links_to_folders_are_followed_when_named_but_not_inside(
    album: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    try:
        (other / "link").symlink_to(album, target_is_directory=True)
        (album / "circle").symlink_to(album, target_is_directory=True)
    except OSError:
        pytest.skip("this account may not make symbolic links")
    assert find_images(other) == []
    assert names(find_images(other / "link"), other / "link") == WALK


def test_image_suffixes_are_those_of_pictures() -> None:
    assert {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2", ".heic"} <= image_suffixes()
    assert not {".txt", ".pdf", ".mp4", ".mpg", ".h5", ".eps", ".ps", ""} & image_suffixes()


def test_broken_images_in_a_folder_are_found_so_that_they_can_be_named(tmp_path: Path) -> None:
    hostile = write_hostile_folder(tmp_path)
    assert {path.name for path in find_images(tmp_path)} == hostile.good.keys() | hostile.bad.keys()
