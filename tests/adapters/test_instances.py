"""Boxes, key points and ids of other tools as prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image as Pillow

import samovar
from samovar import Image
from samovar.errors import InputError, PromptError
from samovar.loading import open_source
from samovar.testing import PromptSourceTests
from samovar.types import Kind
from samovar_adapters.instances import Columns, to_prompts
from samovar_adapters.instances.prompts import InstanceFiles

LEFT, RIGHT = [10, 10, 60, 90], [40, 10, 95, 90]  # two people, one before the other
POSES = [[[30, 20], [30, 50], [30, 80]], [[75, 20], [50, 50], [75, 80]]]


def people(**more: Any) -> dict[str, Any]:
    return {"bboxes": [LEFT, RIGHT], "keypoints": POSES, "keypoint_scores": [[0.9] * 3] * 2, **more}


def test_key_points_speak_for_their_own_person_and_against_the_neighbour() -> None:
    left, right = to_prompts(people(), 100, 100)
    assert left.points is not None
    assert left.point_labels is not None
    assert left.points[left.point_labels == 1].tolist() == POSES[0]
    assert left.points[left.point_labels == 0].tolist() == [[50, 50]], "the arm that reaches into the left box"
    assert right.point_labels is not None
    assert right.point_labels.tolist() == [1, 1, 1], "nothing of the left person is in the right box"
    assert left.box is not None
    assert left.box.tolist() == LEFT


def test_a_neighbours_point_beside_ones_own_says_nothing() -> None:
    touching = [POSES[0], [[75, 20], [32, 51], [75, 80]]]
    left, _ = to_prompts(people(keypoints=touching), 100, 100)
    assert left.point_labels is not None
    assert left.point_labels.tolist() == [1, 1, 1]


def test_of_many_neighbours_only_the_nearest_points_are_taken() -> None:
    crowd = {
        "bboxes": [[0, 0, 99, 99]] + [LEFT] * 5,
        "keypoints": [[[50, 95]]] + [[[20 + 9 * i, 40]] for i in range(5)],
    }
    first = to_prompts(crowd, 100, 100, negatives=2)[0]
    assert first.points is not None
    assert sorted(first.points[1:, 0].tolist()) == [47, 56]


def test_points_of_which_the_tool_is_unsure_or_that_lie_outside_are_left_out() -> None:
    scores = [[0.9, 0.1, 0.9], [0.9, 0.9, 0.9]]
    poses = [[[30, 20], [30, 50], [30, 200]], POSES[1]]
    left, _ = to_prompts(people(keypoints=poses, keypoint_scores=scores), 100, 100)
    assert left.points is not None
    assert left.points[0].tolist() == [30, 20]
    assert left.point_labels is not None
    assert (left.point_labels == 1).sum() == 1


def test_key_points_alone_are_prompts_too() -> None:
    left, _ = to_prompts({"keypoints": POSES}, 100, 100)
    assert left.kinds == {"points"}


def test_an_instance_outside_the_image_gives_no_prompt() -> None:
    prompts = to_prompts({"bboxes": [[-50, 0, -10, 20], LEFT, [0, 0, np.nan, 5]], "ids": [1, 2, 3]}, 100, 100)
    assert prompts.ids == (2,)


@pytest.mark.parametrize(
    "shape",
    [
        lambda columns: columns,
        lambda columns: SimpleNamespace(**columns),
        lambda columns: SimpleNamespace(pred_instances=SimpleNamespace(**columns)),
        lambda columns: SimpleNamespace(pred_track_instances=SimpleNamespace(**columns)),
        lambda columns: [
            {"bbox": [box], "keypoints": pose} for box, pose in zip(columns["bboxes"], columns["keypoints"])
        ],
    ],
    ids=["columns", "an object", "a data sample", "a track sample", "MMPose's JSON"],
)
def test_objects_of_many_tools_hold_the_same(shape: Any) -> None:
    found = Columns.of(shape(people()))
    assert found.boxes is not None
    assert found.boxes.tolist() == [LEFT, RIGHT]
    assert found.keypoints is not None
    assert found.keypoints.tolist() == POSES


def test_tensors_are_taken_wherever_they_lie() -> None:
    torch = pytest.importorskip("torch")
    found = Columns.of({"boxes": torch.tensor([LEFT], dtype=torch.float16), "instances_id": torch.tensor([7])})
    assert found.boxes is not None
    assert found.boxes.tolist() == [LEFT]
    assert found.ids == (7,)


def test_labels_are_names_where_these_are_known() -> None:
    numbered = {"bboxes": [LEFT, RIGHT], "labels": np.array([1, 5])}
    assert to_prompts(numbered, 100, 100, names=["cat", "dog"]).labels == ("dog", "5")
    assert to_prompts({"bboxes": [LEFT], "label_names": ["a bus"]}, 100, 100).labels == ("a bus",)


@pytest.mark.parametrize(
    "nothing", [[], {"bboxes": []}, {"bboxes": np.zeros((0, 4)), "keypoints": np.zeros((0, 17, 2))}]
)
def test_no_instances_give_no_prompts(nothing: Any) -> None:
    assert len(to_prompts(nothing, 100, 100)) == 0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scores": [1]}, "expected instances with bboxes or keypoints; got dict without"),
        ({"bboxes": [[1, 2, 3]]}, r"boxes must be N×4; got shape \(1, 3\)"),
        ({"bboxes": [LEFT], "ids": [1, 2]}, "one entry an instance in every column; got 1 boxes, 2 ids"),
        ({"bboxes": "people"}, "boxes must be numbers"),
        ([1, 2], "one dictionary an instance"),
        ({"bboxes": [LEFT], "ids": 3}, "ids must be one per instance; got 3"),
        ({"bboxes": [LEFT], "ids": [[1], [2, 3]]}, r"ids must be one per instance; got \[\[1\]"),
        ({"bboxes": [LEFT], "labels": "x"}, "labels must be one per instance; got 'x'"),
        ({"bboxes": [LEFT], "labels": [None]}, "labels must be numbers or text; got None"),
        ({"bboxes": [LEFT], "labels": [float("inf")]}, "labels must be numbers or text; got inf"),
        ({"bboxes": [[1, 2, 3, 10**400]]}, "boxes must be numbers"),
        ({"video_data_samples": 5}, "expected the instances of one frame; got 5"),
    ],
)
def test_what_holds_no_instances_is_one_line(wrong: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Columns.of(wrong)


# ------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def written(tmp_path: Path, photo: Path) -> Path:
    """What MMPose's inferencer writes of the demo photo: a cup, for want of a person."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    rows = [{"keypoints": [[300, 150], [320, 200]], "keypoint_scores": [0.9, 0.8], "bbox": [[200, 80, 420, 300]]}]
    (folder / f"{photo.stem}.json").write_text(json.dumps(rows))
    return folder


class TestInstanceFiles(PromptSourceTests):
    produces: ClassVar[Sequence[Kind]] = ("box", "points")

    @pytest.fixture
    def source(self, written: Path) -> InstanceFiles:
        return InstanceFiles(str(written))

    @pytest.fixture
    def images(self, photo: Path) -> list[Image]:
        return [Image(photo), Image(np.zeros((9, 9, 3), np.uint8), name="other.jpg")]


def test_poses_of_a_file_become_masks(written: Path, photo: Path) -> None:
    source = open_source(f"instances={written}")
    masks = samovar.load("default", cache="off").segment(photo, source.prompts([Image(photo)])[0])
    assert masks.areas[0] > 5000


def test_tracks_of_mot_text_keep_their_ids(tmp_path: Path) -> None:
    (tmp_path / "tracks.txt").write_text(
        "1,7,10,20,30,40,0.9,-1,-1,-1\n1,8,50,20,30,40,0.9,-1,-1,-1\n2,7,12,20,30,40,1\n"
    )
    frames = [Image(np.zeros((100, 100, 3), np.uint8), name=name) for name in ("000001.jpg", "000002.jpg", "cover.jpg")]
    first, second, other = open_source(f"instances={tmp_path / 'tracks.txt'}").prompts(frames)
    assert first.ids == (7, 8)
    assert first.boxes[0].tolist() == [10, 20, 40, 60]
    assert second.ids == (7,)
    assert len(other) == 0


MOT = ["1,7,10,20,30,40,0.9,-1,-1,-1", "1,8,50,20,30,40,1,-1,-1,-1", "2,7,12,20,30,40,1"]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(MOT),
        "\r\n".join(MOT),
        "\ufeff" + "\n".join(MOT),
        "\n".join(line.replace(",", " ") for line in MOT),
        "\n".join(line.replace(",", ", ") for line in MOT),
        "frame,id,bb_left,bb_top,bb_width,bb_height,conf,x,y,z\n" + "\n".join(MOT),
        "\n".join([*MOT, "1,9,0,0,9,9,0,8,1"]),
    ],
    ids=["plain", "CRLF", "BOM", "blanks", "both", "a header", "one to be ignored"],
)
@pytest.mark.parametrize("name", ["{:06}.jpg", "frame_{:04}.jpg", "img{:05}.png", "{}.jpg"])
def test_mot_text_as_tools_write_it_beside_frames_as_tools_name_them(tmp_path: Path, text: str, name: str) -> None:
    (tmp_path / "t.txt").write_bytes(text.encode())
    frames = [Image(np.zeros((100, 100, 3), np.uint8), name=name.format(number)) for number in (1, 2, 3)]
    first, second, third = InstanceFiles(str(tmp_path / "t.txt")).prompts(frames)
    assert (first.ids, second.ids, third.ids) == ((7, 8), (7,), ())


def test_two_sequences_do_not_share_a_text(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text(MOT[0])
    source = InstanceFiles(str(tmp_path / "t.txt"))
    paths = [tmp_path / folder / "000001.png" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        Pillow.new("RGB", (80, 80)).save(path)
    assert len(source.prompts([Image(paths[0])])[0]) == len(source.prompts([Image(paths[0])])[0]) == 1
    with pytest.raises(InputError, match=r"frame 1 is .*a/000001\.png already; give the images of one sequence"):
        source.prompts([Image(paths[1])])


def test_an_image_of_which_nothing_was_written_is_named(written: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image(np.zeros((9, 9, 3), np.uint8), name=name) for name in ("other.jpg", "another.jpg")]
    assert [len(prompts) for prompts in InstanceFiles(str(written)).prompts(frames)] == [0, 0]
    assert [record.getMessage() for record in caplog.records] == [f"{written}: nothing in it is of other.jpg"]


POSE = [[30, 20, 0.9], [30, 50, 0.1], [30, 80, 0.9]]
FLAT = [value for point in POSE for value in point]


@pytest.mark.parametrize(
    "content",
    [
        {"meta_info": {"dataset_name": "coco"}, "instance_info": [{"keypoints": POSE}]},
        {"instances": [{"keypoints": POSE}]},
        [{"keypoints": FLAT}],
        {"version": 1.3, "people": [{"pose_keypoints_2d": FLAT, "face_keypoints_2d": []}]},
    ],
    ids=["MMPose's whole results", "K×3", "COCO's flat triples", "OpenPose"],
)
def test_poses_say_of_each_point_how_sure_they_are(tmp_path: Path, content: Any) -> None:
    (tmp_path / "a.json").write_text(json.dumps(content), "utf-8-sig")
    (prompts,) = InstanceFiles(str(tmp_path)).prompts([Image(np.zeros((100, 100, 3), np.uint8), name="a.jpg")])
    assert prompts.points.tolist() == [[30, 20], [30, 80]]


def test_boxes_in_another_order_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"bbox": [60, 10, 30, 90]}]))
    with pytest.raises(InputError, match=r"boxes must be x1 y1 x2 y2; got \[60"):
        InstanceFiles(str(tmp_path)).prompts([Image(np.zeros((100, 100, 3), np.uint8), name="a.jpg")])


def test_bad_files_are_named(tmp_path: Path, photo: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: expected a folder of JSON files or a MOT text file; there is none"):
        InstanceFiles(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="instances=PATH"):
        InstanceFiles(None)
    (tmp_path / "tracks.txt").write_text("1,7,10,20,30,40\nframe,id\n")
    with pytest.raises(InputError, match=r"tracks\.txt:2: expected frame,id,left,top,width,height,…; got 'frame,id'"):
        InstanceFiles(str(tmp_path / "tracks.txt"))
    for line in ("inf,7,10,20,30,40", "1,7,nan,20,30,40", "1,7,10,20,30", "1,7,10,20,30," + "x" * 200_000):
        (tmp_path / "tracks.txt").write_text(line)
        with pytest.raises(InputError, match=r"tracks\.txt:1: expected frame,id"):
            InstanceFiles(str(tmp_path / "tracks.txt"))
    (tmp_path / "tracks.txt").write_bytes(b"\xff\xfe1")
    with pytest.raises(InputError, match=r"tracks\.txt: cannot be read"):
        InstanceFiles(str(tmp_path / "tracks.txt"))
    (tmp_path / f"{photo.stem}.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=rf"{photo.stem}\.json: "):
        InstanceFiles(str(tmp_path)).prompts([Image(photo)])
    (tmp_path / f"{photo.stem}.json").write_text("{")
    with pytest.raises(InputError, match=rf"{photo.stem}\.json: "):
        InstanceFiles(str(tmp_path)).prompts([Image(photo)])


def test_requests_are_refused(written: Path, photo: Path) -> None:
    with pytest.raises(PromptError, match="answers no requests"):
        InstanceFiles(str(written)).prompts([Image(photo)], [samovar.Prompts.from_boxes([[0, 0, 5, 5]])])
