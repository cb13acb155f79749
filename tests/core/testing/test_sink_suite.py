"""The mask sink suite passes one that keeps every promise, and fails each mutant that breaks one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from samovar import Image, Masks
from samovar.testing import MaskSinkTests
from samovar.testing.sinks import SinkFactory
from tests.core.testing.suites import checks, failures


class LinesSink:
    """One JSON object a line; a torn last line, which a kill may leave behind, counts as not written."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        whole = [line for line in self._text().splitlines(keepends=True) if line.endswith("\n")]
        self.path.write_text("".join(whole), encoding="utf-8")
        self.keys = [json.loads(line)["key"] for line in whole]

    def _text(self) -> str:
        return self.path.read_text(encoding="utf-8") if self.path.exists() else ""

    def done(self) -> Iterable[str]:
        return tuple(self.keys)

    def record(self, key: str, image: Image, masks: Masks) -> dict[str, object]:
        return {"key": key, "size": [image.width, image.height], "masks": masks.to_coco_rle()}

    def write(self, key: str, image: Image, masks: Masks) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.record(key, image, masks)) + "\n")

    def close(self) -> None:
        pass


class Lines(MaskSinkTests):
    """The suite as a writer of one file sees it."""

    suffix = ".jsonl"


@pytest.fixture
def sink_factory() -> SinkFactory:
    return LinesSink


class TestLines(Lines):
    pass


class SizesSink(LinesSink):
    """Not a mutant: one that says that it looks at no pixels."""

    needs_pixels = False


class TestSizes(Lines):
    @pytest.fixture
    def sink_factory(self) -> SinkFactory:
        return SizesSink


class Mutant(LinesSink):
    """One promise broken in each subclass."""

    breaks: str


class DoneFromTheStart(Mutant):
    breaks = "test_a_new_sink_has_nothing_done"

    def done(self) -> Iterable[str]:
        return [*self.keys, "header"]


class ForgetsWhatWasDone(Mutant):
    breaks = "test_what_was_written_is_there_and_done_when_it_is_opened_again"

    def done(self) -> Iterable[str]:
        return []


class FooterOnEveryClose(Mutant):
    breaks = "test_close_may_be_called_again"

    def close(self) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write('{"key": "end"}\n')


class HeaderOnEveryOpening(Mutant):
    breaks = "test_a_run_without_images_can_be_closed_and_gone_on_with"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self.path.open("a", encoding="utf-8") as file:
            file.write('{"key": "begin"}\n')


class WritesWhenClosed(Mutant):
    breaks = "test_a_kill_loses_nothing_that_was_written"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.waiting: list[tuple[str, Image, Masks]] = []

    def write(self, key: str, image: Image, masks: Masks) -> None:
        self.waiting.append((key, image, masks))

    def close(self) -> None:
        for item in self.waiting:
            super().write(*item)
        self.waiting = []


class CountsItsRuns(Mutant):
    breaks = "test_running_again_over_a_finished_run_changes_nothing"

    def __init__(self, path: str) -> None:
        super().__init__(path)
        with self.path.with_name("runs").open("a") as file:
            file.write("run\n")


class NamesByStem(Mutant):
    breaks = "test_images_of_one_name_in_two_folders_are_both_kept"

    def write(self, key: str, image: Image, masks: Masks) -> None:
        super().write(Path(key).name, image, masks)


class OnlyTheSize(Mutant):
    breaks = "test_what_is_written_depends_on_the_masks"

    def record(self, key: str, image: Image, masks: Masks) -> dict[str, object]:
        return {**super().record(key, image, masks), "masks": []}


class Timestamped(Mutant):
    breaks = "test_the_same_run_gives_the_same_files"

    def record(self, key: str, image: Image, masks: Masks) -> dict[str, object]:
        return {**super().record(key, image, masks), "written": time.perf_counter_ns()}


class LooksInSecret(Mutant):
    breaks = "test_one_that_needs_no_pixels_looks_at_none"
    needs_pixels = False

    def record(self, key: str, image: Image, masks: Masks) -> dict[str, object]:
        return {**super().record(key, image, masks), "mean": float(image.pixels.mean())}


MUTANTS = Mutant.__subclasses__()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_sink_that_breaks_one_promise_fails_the_check_of_that_promise(mutant: type[Mutant]) -> None:
    assert failures(Lines, only=mutant.breaks, sink_factory=mutant)


def test_every_check_is_failed_by_some_mutant() -> None:
    assert {mutant.breaks for mutant in MUTANTS} == checks(MaskSinkTests) - {"test_is_a_mask_sink"}


def test_a_sink_that_keeps_its_promises_fails_nothing() -> None:
    assert failures(Lines, sink_factory=LinesSink) == {}
