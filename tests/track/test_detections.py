"""Tracking by detection with the real `trackers`, and masks as the real `supervision.Detections`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervision
from supervision.detection.compact_mask import CompactMask

import samovar
from samovar import Image, Masks, Prompt, Prompts, Runtime
from samovar.errors import InputError, PromptError
from samovar_adapters.supervision import from_detections, to_detections
from samovar_adapters.video.following import follow
from samovar_adapters.video.frames import Frame
from samovar_adapters.video.trackers import DetectionTracker, associators
from tests.adapters.video.clips import ball, clip, iou, meadow
from tests.adapters.video.files import write_video

RED, BLUE = ball((210, 50, 40)), ball((50, 80, 220))


class Oracle:
    """A detector that finds the true boxes, from left to right, and now and then misses one."""

    def __init__(self, frames: Sequence[Image], truth: Sequence[Sequence[np.ndarray]], misses: set[int]) -> None:
        self._found = {}
        for number, (frame, masks) in enumerate(zip(frames, truth)):
            boxes = Masks.from_array(np.stack(masks)).boxes
            boxes = boxes[boxes[:, 2] > boxes[:, 0]]
            boxes = boxes[np.argsort(boxes[:, 0])][1 if number in misses else 0 :]
            self._found[frame.name] = Prompts.from_boxes(boxes, labels=["ball"] * len(boxes))

    def prompts(self, images: Sequence[Image], requests: Sequence[Prompts] | None = None) -> list[Prompts]:
        return [self._found[image.name] for image in images]


@pytest.fixture(scope="module")
def sam() -> Runtime:
    return samovar.load("default", cache="off")


@pytest.mark.parametrize("association", ["bytetrack", "ocsort", "sort"])
def test_ids_stay_through_a_crossing_and_missed_detections(sam: Runtime, association: str) -> None:
    frames, truth = clip(meadow(), [RED, BLUE], lambda n: [(30 + 6 * n, 40), (160 - 6 * n, 85)], 20)
    tracker = DetectionTracker(sam, Oracle(frames, truth, misses={6, 13}), association)
    tracker.start(frames[0])
    first = tracker.step(frames[1])
    for frame in frames[2:]:
        masks = tracker.step(frame)
    assert set(masks.labels) == {"ball"}
    for index in (0, 1):
        (before,) = [ident for row, ident in enumerate(first.ids) if iou(first, row, truth[1][index]) > 0.5]
        assert iou(masks, masks.ids.index(before), truth[-1][index]) > 0.7


def test_new_objects_join_and_lost_ones_leave(sam: Runtime) -> None:
    def where(number: int) -> list[tuple[int, int] | None]:
        return [(40 + number, 40) if number < 8 else None, (140, 90) if number >= 4 else None]

    frames, truth = clip(meadow(), [RED, BLUE], where, 12)
    tracker = DetectionTracker(sam, Oracle(frames, truth, misses=set()))
    shown = [tracker.start(frames[0]).ids, *(tracker.step(frame).ids for frame in frames[1:])]
    assert (shown[2], shown[6], shown[11]) == ((1,), (1, 2), (2,))


def test_it_runs_behind_the_same_loop_as_the_other_trackers(sam: Runtime) -> None:
    frames, truth = clip(meadow(), [RED], lambda n: [(40 + 5 * n, 60)], 5)
    tracker = DetectionTracker(sam, Oracle(frames, truth, misses=set()))
    numbered = [Frame(number, number, image) for number, image in enumerate(frames)]  # type: ignore[arg-type]
    assert [masks.ids for _, masks in follow(numbered, tracker, ())] == [(), (1,), (1,), (1,), (1,)]


def test_what_a_detector_decides_nobody_else_does(sam: Runtime) -> None:
    tracker = DetectionTracker(sam, Oracle([], [], set()))
    with pytest.raises(InputError, match="call start"):
        tracker.step(Image(meadow()))
    with pytest.raises(PromptError, match="leave them out"):
        tracker.start(Image(meadow()), Prompt(box=(1, 1, 9, 9)))
    with pytest.raises(InputError, match="bytetrack"):
        DetectionTracker(sam, Oracle([], [], set()), "none")
    assert set(associators()) == {"bytetrack", "ocsort", "sort"}


def test_the_command_line_follows_what_a_source_finds(tmp_path: Path, repository: Path) -> None:
    portrait = Image(repository / "docs" / "assets" / "portrait.jpg").pixels
    frames = [Image(np.ascontiguousarray(portrait[: 500 - n, n : 380 + n])) for n in (0, 2, 4)]
    video = write_video(tmp_path / "a.mp4", [Image(frame.pixels[:490, :370]) for frame in frames])
    command = [sys.executable, "-m", "samovar", "track", str(video), "--source", "faces", "--engine", "detections"]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True, timeout=200)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = [[(mask["id"], mask["label"]) for mask in line["masks"]] for line in lines]
    assert found == [[], [(1, "face")], [(1, "face")]]
    refused = subprocess.run(
        [*command, "--json", "--checkpoint", "c"],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        cwd=tmp_path,
    )
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert "keeps no checkpoint" in refused.stderr


def test_detections_go_in_and_come_out() -> None:
    found = supervision.Detections(
        xyxy=np.array([[1, 2, 30, 40], [5, 5, 9, 9]], np.float32),
        confidence=np.array([0.9, 0.5], np.float32),
        class_id=np.array([3, 0]),
        tracker_id=np.array([7, 2]),
        data={"class_name": np.array(["dog", "cat"])},
    )
    prompts = from_detections(found)
    assert (prompts.labels, prompts.ids, prompts.boxes.tolist()) == (("dog", "cat"), (7, 2), found.xyxy.tolist())
    masks = Masks.from_array(np.eye(6, dtype=bool)[None].repeat(3, 0) & [[[True]], [[True]], [[False]]])
    out: Any = to_detections(masks.replace(ids=["a", "b", "c"], labels=["dog", None, "dog"], scores=[0.5, 0.25, 1]))
    assert len(out) == 2, "the empty one is left out"
    assert (out.tracker_id.tolist(), out.data["samovar_id"].tolist()) == ([1, 2], ["a", "b"])
    assert (out.data["class_name"].tolist(), out.class_id.tolist()) == (["dog", ""], [0, 1])
    assert isinstance(out.mask, CompactMask)
    assert np.array_equal(out.mask, masks[:2].to_array())
    dense: Any = to_detections(masks[:2], dense=True)
    assert np.array_equal(dense.mask, masks[:2].to_array())
    assert out.confidence.tolist() == [0.5, 0.25]
    assert len(to_detections(Masks.empty(4, 4))) == 0
    with pytest.raises(InputError, match="some of both"):
        to_detections(masks[:2].replace(ids=[1, None]))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 60)])
def test_compact_masks_are_the_masks(shape: tuple[int, int]) -> None:
    drawn = np.random.default_rng(1).random((12, *shape)) < np.linspace(0.02, 1, 12)[:, None, None]
    masks = Masks.from_array(drawn)[Masks.from_array(drawn).areas > 0]
    found: Any = to_detections(masks.replace(labels=["a"] * len(masks)))
    assert np.array_equal(np.asarray(found.mask), masks.to_array())
    assert found.mask.area.tolist() == masks.areas.tolist()
    assert np.array_equal(np.asarray(found[1:].mask), masks[1:].to_array()), "what users do with detections goes on"
    assert np.array_equal(
        found.with_nms(0.5, class_agnostic=True).xyxy,
        to_detections(masks, dense=True).with_nms(0.5, class_agnostic=True).xyxy,
    )
