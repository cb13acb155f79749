"""The COCO sink: complete, readable by pycocotools, and the same whatever interrupted it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samovar import Image, Masks
from samovar.errors import InputError
from samovar_adapters.formats import CocoSink
from samovar_adapters.formats.files import order_of
from tests.adapters.scenes import any_masks, blank, names, photos

# pycocotools itself, under NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def write(path: Path, items: list[tuple[str, Masks]]) -> None:
    with CocoSink(path) as sink:
        for key, masks in items:
            sink.write(key, blank(masks), masks)


def some_items(count: int, seed: int = 0) -> list[tuple[str, Masks]]:
    random_ = np.random.default_rng(seed)
    items = []
    for number in range(count):
        pixels = random_.random((number % 3, 6, 9)) < 0.4
        masks = Masks.from_array(pixels).replace(
            labels=[("cup", "bus", None)[(number + i) % 3] for i in range(len(pixels))],
            scores=random_.random(len(pixels), np.float32),
        )
        items.append((f"{'ab'[number % 2]}/{number}.jpg", masks))
    return items


def pycocotools(path: Path) -> Any:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.mark.slow
@settings(max_examples=40)  # each writes files
@given(items=st.dictionaries(st.text("ab/.é ", min_size=1, max_size=6), any_masks(), max_size=4))
def test_pycocotools_reads_every_mask_with_its_box_area_and_category(
    items: dict[str, Masks], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("coco") / "out.json"
    write(path, list(items.items()))
    coco = pycocotools(path)
    assert {image["file_name"] for image in coco.dataset["images"]} == set(items)
    for image in coco.dataset["images"]:
        masks = items[image["file_name"]]
        assert (image["width"], image["height"]) == (masks.width, masks.height)
        found = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert len(found) == len(masks)
        for i, annotation in enumerate(found):
            assert np.array_equal(coco.annToMask(annotation), masks.to_array()[i])
            x1, y1, x2, y2 = masks.boxes[i].tolist()
            assert annotation["bbox"] == [x1, y1, x2 - x1, y2 - y1]
            assert annotation["area"] == masks.areas[i]
            assert annotation["iscrowd"] == 0
            assert np.float32(annotation["score"]) == masks.scores[i]
            assert annotation.get("source_id") == masks.ids[i]
            assert coco.cats[annotation["category_id"]]["name"] == (masks.labels[i] or "object")


@pytest.mark.parametrize("subset", ["cocotr", "bsdstr"])
def test_real_masks_come_back_from_pycocotools(subset: str, data_folder: Path, tmp_path: Path) -> None:
    found = photos(data_folder, 5, subset)
    with CocoSink(tmp_path / "out.json") as sink:
        for image, masks in found:
            sink.write(image.name, image, masks)
    coco = pycocotools(tmp_path / "out.json")
    for image, masks in found:
        ident = next(row["id"] for row in coco.dataset["images"] if row["file_name"] == image.name)
        dense = [coco.annToMask(row) for row in coco.loadAnns(coco.getAnnIds(imgIds=ident))]
        assert np.array_equal(np.array(dense, bool), masks.to_array())


def test_ids_count_from_1_in_the_order_of_keys_and_categories_in_that_of_names(tmp_path: Path) -> None:
    write(tmp_path / "out.json", some_items(12))
    document = json.loads((tmp_path / "out.json").read_text())
    names = [image["file_name"] for image in document["images"]]
    assert names == sorted(names, key=order_of)
    assert [image["id"] for image in document["images"]] == list(range(1, 13))
    assert [row["id"] for row in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    assert [row["image_id"] for row in document["annotations"]] == sorted(
        row["image_id"] for row in document["annotations"]
    )
    assert [row["name"] for row in document["categories"]] == ["bus", "cup", "object"]


def test_the_file_does_not_depend_on_the_order_of_writing(tmp_path: Path) -> None:
    items = some_items(9)
    write(tmp_path / "a.json", items)
    random.Random(1).shuffle(items)
    write(tmp_path / "b.json", items)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


@pytest.mark.parametrize("cut", [0, 1, 4, 9])
def test_a_finished_file_can_be_added_to_as_if_it_had_been_one_run(tmp_path: Path, cut: int) -> None:
    items = some_items(9)
    write(tmp_path / "once.json", items)
    write(tmp_path / "twice.json", items[cut:])
    write(tmp_path / "twice.json", items[:cut])
    assert (tmp_path / "once.json").read_bytes() == (tmp_path / "twice.json").read_bytes()
    with CocoSink(tmp_path / "twice.json") as sink:
        assert sorted(sink.done()) == sorted(key for key, _ in items)


def test_an_image_that_is_written_again_is_replaced(tmp_path: Path) -> None:
    masks = Masks.from_array(np.ones((2, 3, 4), bool)).replace(labels=["old", "old"])
    write(tmp_path / "again.json", [("a.jpg", masks), ("b.jpg", masks)])
    write(tmp_path / "again.json", [("a.jpg", masks), ("a.jpg", masks[:1].replace(labels=["new"]))])
    write(tmp_path / "once.json", [("a.jpg", masks[:1].replace(labels=["new"])), ("b.jpg", masks)])
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "once.json").read_bytes()


def test_nothing_is_left_beside_a_finished_file(tmp_path: Path) -> None:
    write(tmp_path / "out.json", some_items(3))
    assert names(tmp_path) == ["out.json"]


def test_closing_without_masks_leaves_a_valid_empty_file(tmp_path: Path) -> None:
    write(tmp_path / "out.json", [])
    assert pycocotools(tmp_path / "out.json").dataset["annotations"] == []


@pytest.mark.slow
def test_whatever_a_kill_leaves_of_the_last_record_the_next_run_ends_the_same(tmp_path: Path) -> None:
    """The journal cut at every byte of its last two records, as by a kill in the middle of writing."""
    items = some_items(6)
    write(tmp_path / "unbroken.json", items)
    unbroken = (tmp_path / "unbroken.json").read_bytes()
    sizes = [0]
    sink = CocoSink(tmp_path / "killed.json")
    journal = tmp_path / "killed.json.partial"
    for key, masks in items:
        sink.write(key, blank(masks), masks)
        sizes.append(journal.stat().st_size)
    data = journal.read_bytes()
    sink.close()
    for length in range(sizes[-3], sizes[-1] + 1):
        path = tmp_path / "resumed.json"
        path.with_name("resumed.json.partial").write_bytes(data[:length])
        with CocoSink(path) as again:
            done = set(again.done())
            assert done == {key for (key, _), size in zip(items, sizes[1:]) if size <= length}
            for key, masks in items:
                if key not in done:
                    again.write(key, blank(masks), masks)
        assert path.read_bytes() == unbroken, f"cut after {length} bytes"
        path.unlink()


@pytest.mark.parametrize("damage", [b"\0" * 40, b"garbage\n", b"00000000 {}\n", b"\n", b'{"key": "x"}'])
def test_a_damaged_end_of_the_journal_is_dropped(tmp_path: Path, damage: bytes) -> None:
    items = some_items(4)
    write(tmp_path / "unbroken.json", items)
    sink = CocoSink(tmp_path / "out.json")
    for key, masks in items[:2]:
        sink.write(key, blank(masks), masks)
    shutil.copy(tmp_path / "out.json.partial", tmp_path / "other.json.partial")
    sink.close()
    with (tmp_path / "other.json.partial").open("ab") as file:
        file.write(damage)
    write(tmp_path / "other.json", items[2:])
    assert (tmp_path / "other.json").read_bytes() == (tmp_path / "unbroken.json").read_bytes()


def test_a_kill_between_the_merge_and_dropping_the_journal_changes_nothing(tmp_path: Path) -> None:
    items = some_items(5)
    sink = CocoSink(tmp_path / "out.json")
    for key, masks in items:
        sink.write(key, blank(masks), masks)
    journal = (tmp_path / "out.json.partial").read_bytes()
    sink.close()
    merged = (tmp_path / "out.json").read_bytes()
    (tmp_path / "out.json.partial").write_bytes(journal)
    (tmp_path / ".out.json.partial").write_bytes(merged[:100])
    with CocoSink(tmp_path / "out.json") as again:
        assert len(list(again.done())) == 5
    assert (tmp_path / "out.json").read_bytes() == merged
    assert names(tmp_path) == ["out.json"]


CHILD = """
import sys
import numpy as np
from samovar import Image, Masks
from samovar_adapters.formats import CocoSink
with CocoSink(sys.argv[1]) as sink:
    done = set(sink.done())
    print(len(done), flush=True)
    for i in range(400):
        if f"{i}.png" not in done:
            pixels = np.random.default_rng(i).random((5, 20, 30)) < 0.5
            sink.write(f"{i}.png", None, Masks.from_array(pixels).replace(labels=[f"label {i % 7}"] * 5))
"""


@pytest.mark.slow
def test_sigkill_at_any_moment_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", CHILD, str(tmp_path / name)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with start("unbroken.json") as child:
        child.communicate()
    assert child.returncode == 0
    counts = []
    kills = 0
    while True:
        with start("killed.json") as child:
            assert child.stdout is not None
            counts.append(int(child.stdout.readline()))
            time.sleep(0.02 + 0.05 * (kills % 5))
            if kills < 8 and child.poll() is None:
                child.send_signal(signal.SIGKILL)
                kills += 1
            child.communicate()
        if child.returncode == 0:
            break
    assert kills > 0
    assert counts == sorted(counts)
    assert (tmp_path / "killed.json").read_bytes() == (tmp_path / "unbroken.json").read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no advisory locks there")
def test_two_runs_at_once_are_refused_in_one_line(tmp_path: Path) -> None:
    first = CocoSink(tmp_path / "out.json")
    first.done()
    second = CocoSink(tmp_path / "out.json")
    with pytest.raises(InputError, match="being written by another process"):
        second.done()
    first.close()
    second.close()


@pytest.mark.parametrize(
    "text", ['{"images": [], "annotations": [], "categories": []}', "[]", "", '{"info": {"contributor": "Samovar"']
)
def test_a_file_of_somebody_else_or_a_torn_one_is_never_overwritten(tmp_path: Path, text: str) -> None:
    path = tmp_path / "theirs.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"theirs\.json") as caught:
        CocoSink(path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == text


@pytest.mark.slow
def test_memory_does_not_grow_with_the_annotations(tmp_path: Path) -> None:
    """What a sink holds for an image is a place in the journal, far less than the image's own annotations."""
    import tracemalloc

    masks = Masks.from_array(np.random.default_rng(0).random((20, 64, 64)) < 0.5)
    image = blank(masks)
    with CocoSink(tmp_path / "out.json") as sink:
        sink.write("warm.png", image, masks)
        tracemalloc.start()
        for i in range(100):
            sink.write(f"{i}.png", image, masks)
        held, _ = tracemalloc.get_traced_memory()
        sink.close()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    written = (tmp_path / "out.json").stat().st_size
    assert held < written / 50
    assert peak < written / 5


def test_names_that_are_not_valid_unicode_survive(tmp_path: Path) -> None:
    key = os.fsdecode(b"caf\xe9.jpg")
    masks = Masks.from_array(np.ones((1, 2, 2), bool))
    write(tmp_path / "out.json", [(key, masks)])
    with CocoSink(tmp_path / "out.json") as sink:
        assert list(sink.done()) == [key]


def test_writing_after_closing_is_refused(tmp_path: Path) -> None:
    masks = Masks.empty(2, 2)
    sink = CocoSink(tmp_path / "out.json")
    sink.close()
    with pytest.raises(InputError, match="closed"):
        sink.write("a.jpg", Image(np.zeros((2, 2, 3), np.uint8)), masks)


def test_masks_without_a_pixel_are_left_out_and_counted(tmp_path: Path) -> None:
    """Trainers stop at a box of no size."""
    masks = Masks.from_array(np.stack([np.zeros((4, 5), bool), np.ones((4, 5), bool)]))
    image = Image(np.zeros((4, 5, 3), np.uint8), name="a.jpg")
    for keep, count in ((False, 1), (True, 2)):
        with CocoSink(tmp_path / f"{keep}.json", keep_empty=keep) as sink:
            sink.write("a.jpg", image, masks)
            notes = [str(problem) for problem in sink.problems]
        assert len(json.loads((tmp_path / f"{keep}.json").read_text())["annotations"]) == count
        assert notes == ([] if keep else [f"left out 1 mask without a pixel of {tmp_path / 'False.json'}"])
