"""`MaskSinkTests`: the contract of a mask sink, for pytest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import pytest

from samovar.image import Image
from samovar.masks import Masks
from samovar.protocols import MaskSink, PixelNeeds
from samovar.testing.scenes import scene, undecodable

__all__ = ["MaskSinkTests"]


class SinkFactory(Protocol):
    """The target of a `MaskSinkSpec`."""

    def __call__(self, path: str, /) -> MaskSink:
        """A sink that writes to `path`."""


class Item(NamedTuple):
    """What one `write` is given."""

    key: str
    image: Image
    masks: Masks


class MaskSinkTests:
    """Subclass it beside a fixture `sink_factory`: the target of the spec, or a function that calls it.

    Class attributes that a subclass sets:
        suffix: as in the spec: ".json", say, or "" where the path is a folder.
    """

    suffix: ClassVar[str] = ""

    @property
    def items(self) -> Sequence[Item]:
        """Images to write: with several masks, with none, with one; with and without labels and ids."""
        first, second, third = scene(40, 30, 1), scene(31, 17, 2), scene(8, 8, 3)
        labelled = _rectangles(first, 3).replace(labels=("cup", None, "tea & <sugar>"), ids=(7, None, "b"))
        return [
            Item("first.png", first, labelled),
            Item("folder/second.png", second, Masks.empty(31, 17)),
            Item("other/second.png", second, _rectangles(second, 2)),
            Item("dritte überaus.png", third, _rectangles(third, 1)),
        ]

    def path(self, folder: Path) -> str:
        """Where the sink writes, inside `folder`, which holds nothing else."""
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / f"out{self.suffix}")

    def test_is_a_mask_sink(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        with closing(sink_factory(self.path(tmp_path))) as sink:
            assert isinstance(sink, MaskSink)

    def test_a_new_sink_has_nothing_done(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        with closing(sink_factory(self.path(tmp_path))) as sink:
            assert list(sink.done()) == []

    def test_what_was_written_is_there_and_done_when_it_is_opened_again(
        self, sink_factory: SinkFactory, tmp_path: Path
    ) -> None:
        self._write(sink_factory, tmp_path, self.items)
        assert Path(self.path(tmp_path)).exists()
        with closing(sink_factory(self.path(tmp_path))) as sink:
            assert sorted(sink.done()) == sorted(item.key for item in self.items)

    def test_close_may_be_called_again(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        sink = sink_factory(self.path(tmp_path))
        sink.write(*self.items[0])
        sink.close()
        before = _files(tmp_path)
        sink.close()
        assert _files(tmp_path) == before

    def test_a_run_without_images_can_be_closed_and_gone_on_with(
        self, sink_factory: SinkFactory, tmp_path: Path
    ) -> None:
        self._write(sink_factory, tmp_path / "empty first", [])
        self._write(sink_factory, tmp_path / "empty first", self.items)
        self._write(sink_factory, tmp_path / "at once", self.items)
        assert _files(tmp_path / "empty first") == _files(tmp_path / "at once")

    def test_a_kill_loses_nothing_that_was_written(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        """What lies on disk when `write` returns, and nothing else, is what a kill leaves behind."""
        self._write(sink_factory, tmp_path / "unbroken", self.items)
        sink = sink_factory(self.path(tmp_path / "killed"))
        with closing(sink):
            for count, item in enumerate(self.items, 1):
                sink.write(*item)
                left = tmp_path / f"left after {count}"
                shutil.copytree(tmp_path / "killed", left)
                self._go_on(sink_factory, left, count)
                assert _files(left) == _files(tmp_path / "unbroken"), f"killed after {count} images"

    def test_one_that_needs_no_pixels_looks_at_none(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        with closing(sink_factory(self.path(tmp_path / "out"))) as sink:
            if not isinstance(sink, PixelNeeds) or sink.needs_pixels:
                pytest.skip("needs pixels")
            image = undecodable(40, 30, tmp_path)
            sink.write("torn.png", image, _rectangles(image, 2))

    def _go_on(self, sink_factory: SinkFactory, folder: Path, count: int) -> None:
        """Run again over what a kill after `count` images has left in `folder`, skipping what is done."""
        with closing(sink_factory(self.path(folder))) as sink:
            done = set(sink.done())
            assert done == {item.key for item in self.items[:count]}
            for item in self.items:
                if item.key not in done:
                    sink.write(*item)

    def test_running_again_over_a_finished_run_changes_nothing(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        self._write(sink_factory, tmp_path, self.items)
        before = _files(tmp_path)
        self._write(sink_factory, tmp_path, [])
        assert _files(tmp_path) == before

    def test_images_of_one_name_in_two_folders_are_both_kept(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        self._write(sink_factory, tmp_path / "one", self.items[2:3])
        self._write(sink_factory, tmp_path / "both", self.items[1:3])
        with closing(sink_factory(self.path(tmp_path / "both"))) as sink:
            assert len(set(sink.done())) == 2
        assert _files(tmp_path / "one") != _files(tmp_path / "both")

    def test_what_is_written_depends_on_the_masks(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        key, image, masks = self.items[0]
        self._write(sink_factory, tmp_path / "some", [Item(key, image, masks)])
        self._write(sink_factory, tmp_path / "others", [Item(key, image, masks[1:])])
        assert _files(tmp_path / "some") != _files(tmp_path / "others")

    def test_the_same_run_gives_the_same_files(self, sink_factory: SinkFactory, tmp_path: Path) -> None:
        for name in ("once", "again"):
            self._write(sink_factory, tmp_path / name, self.items)
        assert _files(tmp_path / "once") == _files(tmp_path / "again")

    def _write(self, sink_factory: SinkFactory, folder: Path, items: Sequence[Item]) -> None:
        with closing(sink_factory(self.path(folder))) as sink:
            for item in items:
                sink.write(*item)


def _files(folder: Path) -> dict[str, bytes]:
    """Name → content of every file in `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _rectangles(image: Image, count: int) -> Masks:
    """`count` nested rectangles, each a little further in, the innermost with a hole if there is room."""
    dense = np.zeros((count, image.height, image.width), bool)
    for number in range(count):
        dense[number, number + 1 : image.height - number - 1, number + 1 : image.width - number - 1] = True
    dense[-1, count + 2 : count + 4, count + 2 : count + 4] = False
    scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
    return Masks.from_array(dense).replace(scores=scores, prompt_index=np.arange(count))
