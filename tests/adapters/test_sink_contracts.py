"""Every sink keeps the contract of sinks, and the habits that those of this package share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from samovar import Image, Masks
from samovar.errors import InputError, SamovarError
from samovar.plugins import find_mask_sink, list_mask_sinks, resolve
from samovar.testing import MaskSinkTests
from samovar.testing.sinks import SinkFactory
from samovar_adapters.formats import CocoSink, LabelMapSink, LabelmeSink, NpzSink, PngSink, PolygonsSink, YoloSink
from samovar_adapters.overlay import OverlaySink
from tests.adapters.scenes import names

NAMES = ("coco", "labelmap", "labelme", "npz", "overlay", "png", "polygons", "yolo")


class TestCoco(MaskSinkTests):
    suffix = ".json"

    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return CocoSink


class TestLabelMap(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return LabelMapSink


class TestLabelme(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return LabelmeSink


class TestNpz(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return NpzSink


class TestOverlay(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return OverlaySink


class TestPng(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return PngSink


class TestPolygons(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return PolygonsSink


class TestYolo(MaskSinkTests):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return YoloSink


@pytest.fixture
def image() -> Image:
    return Image(np.zeros((8, 12, 3), np.uint8), name="black")


@pytest.fixture
def masks() -> Masks:
    return Masks.from_array(np.pad(np.ones((1, 4, 5), bool), ((0, 0), (2, 2), (3, 4))))


def test_these_are_all_the_sinks_that_come_with_samovar() -> None:
    ours = [spec.name for spec in list_mask_sinks() if spec.target.startswith("samovar_adapters.")]
    assert set(NAMES) <= set(ours)


@pytest.mark.parametrize("name", NAMES)
def test_missing_folders_on_the_way_are_made(name: str, tmp_path: Path, image: Image, masks: Masks) -> None:
    spec = find_mask_sink(name)
    with closing(resolve(spec)(str(tmp_path / "a" / "b" / f"out{spec.suffix}"))) as sink:
        sink.write("c/d.jpg", image, masks)
    assert any(path.is_file() for path in (tmp_path / "a" / "b").rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_where_a_folder_is_needed_or_the_other_way_round_is_refused_at_once(name: str, tmp_path: Path) -> None:
    spec = find_mask_sink(name)
    path = tmp_path / f"out{spec.suffix}"
    if spec.suffix:
        path.mkdir()
    else:
        path.write_text("something else")
    with pytest.raises(InputError, match=r"needs a (file|folder)") as caught:
        resolve(spec)(str(path))
    assert "\n" not in str(caught.value)
    assert path.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_file_on_the_way_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    spec = find_mask_sink(name)
    with pytest.raises(InputError):
        resolve(spec)(str(tmp_path / "file" / f"out{spec.suffix}"))


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """A folder that may not be written to, not even by a superuser, who is made an ordinary user for the test."""
    if not hasattr(os, "seteuid"):
        pytest.skip("no user ids on this system")
    tmp_path.chmod(0o500)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    yield tmp_path
    os.seteuid(user)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("below", ["", "a/b"])
@pytest.mark.parametrize("name", NAMES)
def test_a_folder_without_permission_is_refused_at_once(name: str, below: str, locked: Path) -> None:
    spec = find_mask_sink(name)
    with pytest.raises(InputError, match=r"cannot write into .*: Permission denied") as caught:
        resolve(spec)(str(locked / below / f"out{spec.suffix}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_keys_cannot_lead_out_of_the_folder(name: str, tmp_path: Path, image: Image, masks: Masks) -> None:
    spec = find_mask_sink(name)
    keys = ["../up.jpg", "/tmp/absolute.jpg", "a/../../up.jpg", "a//b.jpg", "https://example.org/a.jpg"]
    path = tmp_path / "inner" / f"out{spec.suffix}"
    with closing(resolve(spec)(str(path))) as sink:
        for key in keys:
            sink.write(key, image, masks)
    with closing(resolve(spec)(str(path))) as sink:
        assert sorted(sink.done()) == sorted(keys)
    assert names(tmp_path) == ["inner"]
    assert not Path("/tmp/absolute.jpg.png").exists()


@pytest.mark.parametrize("name", ["labelmap", "labelme", "npz", "overlay", "polygons"])
def test_a_path_with_the_suffix_is_the_file_of_one_image(name: str, tmp_path: Path, image: Image, masks: Masks) -> None:
    spec = find_mask_sink(name)
    path = tmp_path / f"one{spec.item_suffix}"
    for _ in range(2):
        with closing(resolve(spec)(str(path))) as sink:
            assert list(sink.done()) == []
            sink.write("a.jpg", image, masks)
            with pytest.raises(InputError, match="one image"):
                sink.write("b.jpg", image, masks)
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    name: str, tmp_path: Path, image: Image, masks: Masks, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = find_mask_sink(name)
    sink = resolve(spec)(str(tmp_path / f"out{spec.suffix}"))
    sink.write("a.jpg", image, masks)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(SamovarError, match="No space left on device") as caught:
            sink.write("b.jpg", image, masks)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.rglob(".*")) == []  # what was begun would keep the disk full
    sink.write("b.jpg", image, masks)
    sink.close()
    with closing(resolve(spec)(str(tmp_path / f"out{spec.suffix}"))) as again:
        assert sorted(again.done()) == ["a.jpg", "b.jpg"]
