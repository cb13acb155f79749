"""The pipeline: in order, ahead of the model, one bad file at a time, resumable."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Image, Masks, Prompt
from samovar.errors import Cancelled, ImageError, InputError, SamovarError
from samovar.pipeline import Item, key_of_one, run, worklist
from samovar.runtime import Runtime
from tests.fakes import FilledBoxes, ListSink


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(20):
        Pillow.fromarray(np.full((20, 30, 3), i, np.uint8)).save(tmp_path / f"{i:02}.png")
    return tmp_path


def fill(item: Item, image: Image) -> Masks:
    return Runtime(FilledBoxes()).segment(image, Prompt(box=(0, 0, 5, 5)))


def test_every_image_is_written_in_order_and_the_sink_is_closed(photos: Path) -> None:
    sink = ListSink()
    outcomes = list(run(worklist([str(photos)])[0], fill, {"list": sink}))
    assert [outcome.status for outcome in outcomes] == ["written"] * 20
    assert [key for key, _ in sink.written] == [f"{i:02}.png" for i in range(20)]
    assert sink.closed


def test_what_every_sink_already_has_is_not_even_opened(photos: Path) -> None:
    (photos / "03.png").write_bytes(b"no longer a picture")
    one, two = ListSink(["03.png", "04.png"]), ListSink(["03.png"])
    outcomes = {o.key: o.status for o in run(worklist([str(photos)])[0], fill, {"one": one, "two": two})}
    assert outcomes["03.png"] == "skipped"
    assert outcomes["04.png"] == "written"
    assert "04.png" not in dict(one.written)
    assert "04.png" in dict(two.written)


def test_a_bad_file_is_reported_once_and_the_rest_go_on(photos: Path) -> None:
    (photos / "07.png").write_bytes(b"torn")
    sink = ListSink()
    failed = [outcome for outcome in run(worklist([str(photos)])[0], fill, {"list": sink}) if outcome.error]
    assert [outcome.key for outcome in failed] == ["07.png"]
    assert str(failed[0].error).startswith("07.png")
    assert len(sink.written) == 19


def test_an_unforeseen_error_in_a_model_costs_one_image_and_keeps_its_cause(photos: Path) -> None:
    def fragile(item: Item, image: Image) -> Masks:
        if item.key == "05.png":
            raise ZeroDivisionError("by hand")
        return fill(item, image)

    failed = [outcome for outcome in run(worklist([str(photos)])[0], fragile, {}) if outcome.error]
    assert str(failed[0].error) == "05.png: ZeroDivisionError: by hand"
    assert isinstance(failed[0].error, SamovarError)
    assert isinstance(failed[0].error.__cause__, ZeroDivisionError)
    assert len(failed) == 1


def test_a_sink_that_cannot_write_ends_the_job(photos: Path) -> None:
    class Full(ListSink):
        def write(self, key: str, image: Image, masks: Masks) -> None:
            raise OSError(28, "No space left on device")

    sink = Full()
    with pytest.raises(OSError, match="No space left"):
        list(run(worklist([str(photos)])[0], fill, {"full": sink}))
    assert sink.closed


def test_what_a_sink_refuses_is_one_failed_item(photos: Path) -> None:
    class Choosy(ListSink):
        def write(self, key: str, image: Image, masks: Masks) -> None:
            if key == "05.png":
                raise InputError(f"{key}: expected an even number")
            super().write(key, image, masks)

    sink = Choosy()
    outcomes = list(run(worklist([str(photos)])[0], fill, {"choosy": sink}))
    assert [(outcome.key, str(outcome.error)) for outcome in outcomes if outcome.status == "failed"] == [
        ("05.png", "05.png: expected an even number")
    ]
    assert len(sink.written) == 19


def test_images_are_read_ahead_but_not_all_at_once(photos: Path) -> None:
    opened: list[str] = []

    def watched(image: Image) -> bool:
        opened.append(image.name)
        return True

    outcomes = run(worklist([str(photos)])[0], fill, {}, needs_pixels=watched)
    next(outcomes)
    assert 1 < len(opened) < 20
    assert len(list(outcomes)) == 19


def test_a_set_event_stops_after_the_image_at_hand(photos: Path) -> None:
    cancel = threading.Event()
    sink = ListSink()
    outcomes = run(worklist([str(photos)])[0], fill, {"list": sink}, cancel=cancel)
    next(outcomes)
    cancel.set()
    with pytest.raises(Cancelled):
        next(outcomes)
    assert sink.closed
    assert len(sink.written) == 1


def test_keys_are_paths_below_the_folder_given(tmp_path: Path) -> None:
    for name in ("a/x.png", "a/b/x.png", "c/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Pillow.new("RGB", (2, 2)).save(tmp_path / name)

    def keys(*paths: str) -> list[str]:
        return [item.key for item in worklist([str(tmp_path / path) for path in paths])[0]]

    assert keys("a") == ["x.png", "b/x.png"]
    assert keys("a", "c") == ["a/x.png", "a/b/x.png", "c/x.png"]
    assert keys("a/x.png") == ["x.png"]


def test_keys_of_files_keep_their_folders_whoever_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/x.png", "c/x.png"):
        (tmp_path / name).parent.mkdir()
        Pillow.new("RGB", (2, 2)).save(tmp_path / name)

    def keys(*paths: str) -> list[str]:
        return [item.key for item in worklist(paths)[0]]

    assert keys("b/x.png", "c/x.png") == keys("*/x.png") == keys("./b/x.png", "c/../c/x.png") == ["b/x.png", "c/x.png"]
    (tmp_path / "a").mkdir()
    Pillow.new("RGB", (3, 3)).save(tmp_path / "a" / "x.png")
    assert keys("*/x.png") == ["a/x.png", "b/x.png", "c/x.png"]
    assert keys(str(tmp_path / "a" / "x.png"), "b/x.png")[1] == "b/x.png"
    assert keys("a/x.png", "a/x.png") == ["a/x.png"]


def test_a_url_is_keyed_by_the_last_part_of_its_path() -> None:
    [item], errors = worklist(["https://example.org/photos/street%20one.jpg?size=large"])
    assert (item.key, item.source) == ("street one.jpg", "https://example.org/photos/street%20one.jpg?size=large")
    assert not errors


@pytest.mark.parametrize(
    ("url", "key"),
    [("http://[::bad/x.jpg", "x.jpg"), ("data:image/png;base64," + "A" * 5000, "image"), ("x" * 5000, "x" * 5000)],
    ids=["a malformed address", "a data-URL", "longer than any file's name"],
)
def test_whatever_is_given_as_a_path_gets_a_key_and_fails_on_opening_at_most(url: str, key: str) -> None:
    [item], errors = worklist([url])
    assert (item.key, str(item.source), errors) == (key, url, [])
    with pytest.raises(ImageError):
        _ = Image(item.source).pixels


def test_one_image_is_told_from_a_folder_a_pattern_and_several(photos: Path) -> None:
    odd = photos / "0[1].png"
    odd.write_bytes(b"")
    assert key_of_one([str(photos / "00.png")]) == "00.png"
    assert key_of_one([str(odd)]) == "0[1].png"
    assert key_of_one(["https://example.org/street.jpg?size=[large]*"]) == "street.jpg"
    for several in ([str(photos)], [str(photos / "*.png")], [str(odd), str(odd)], []):
        assert key_of_one(several) is None


def test_a_pattern_without_matches_is_an_error_beside_the_images_found(photos: Path) -> None:
    found, errors = worklist([str(photos / "*.tif"), str(photos / "0*.png")])
    assert len(found) == 10
    assert "*.tif" in str(errors[0])
