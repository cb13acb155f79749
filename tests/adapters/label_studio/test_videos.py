"""Boxes drawn in videos, and the keyframes that come back."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from samovar import Image, Prompts, load
from samovar.errors import InputError, PromptError
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.config import parse
from samovar_adapters.label_studio.predictor import BackendOptions
from samovar_adapters.label_studio.regions import ImageSize
from samovar_adapters.label_studio.routes import backend_routes
from samovar_adapters.label_studio.videos import Box, follow_video, keyframes_of, read_tracks
from samovar_adapters.serve import BodyLimits, Engine
from samovar_adapters.video import Frame as VideoFrame
from tests.adapters.label_studio.servers import Answer, serving
from tests.adapters.serve.served import client_of
from tests.adapters.video.clips import ball, clip, meadow
from tests.adapters.video.files import write_video

pytest.importorskip("av")

CONFIG = """<View><Labels name="what" toName="video"><Label value="Ball"/><Label value="Bat"/></Labels>
<Video name="video" value="$video" frameRate="$fps"/><VideoRectangle name="box" toName="video" smart="true"/></View>"""
WIDTH, HEIGHT, COUNT, RATE, RADIUS = 320, 208, 24, 12, 28
FOLLOWED = 0.7  # IoU of boxes from which the ball has been followed; another ball's box would have none
FRAME = ImageSize(WIDTH, HEIGHT)


def place(number: int) -> tuple[int, int] | None:
    """Where the ball is in frame `number`, from 0; for four frames it is away."""
    return None if 14 <= number < 18 else (50 + 9 * number, 100 + round(16 * np.sin(number / 4)))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    balls = [ball((220, 60, 40), RADIUS), ball((50, 80, 220), 20)]
    frames, _ = clip(meadow(WIDTH, HEIGHT), balls, lambda number: [place(number), (60, 178)], COUNT)
    path = tmp_path_factory.mktemp("video") / "ball.mp4"
    return write_video(path, frames, at=[Fraction(number, RATE) for number in range(COUNT)]).read_bytes()


@contextmanager
def backend(video: bytes, **options: Any) -> Iterator[TestClient]:
    """The embedded model behind the protocol, and a Label Studio that has the video."""

    def studio(path: str, authorization: str | None, body: bytes) -> Answer:
        return (200, video, {}) if path.endswith("ball.mp4") else (404, b"no", {})

    with ExitStack() as stack:
        server = stack.enter_context(serving(studio))
        engine = Engine(lambda: load("default", cache="off"), name="default")
        routes = backend_routes(
            engine, BodyLimits(1 << 20, 1 << 24), Client(server.url, "abc"), BackendOptions(**options)
        )
        yield stack.enter_context(client_of(engine, routes=routes))


def keyframe(number: int, box: Box, **more: Any) -> dict[str, Any]:
    """Of frame `number`, counted from 1."""
    (x1, y1), (x2, y2) = FRAME.percent(np.reshape(box, (2, 2))).tolist()
    shape = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "rotation": 0}
    return {"frame": number, "enabled": True, "time": number / RATE, **shape, **more}


def around(number: int) -> Box:
    """The ball's box in frame `number`, from 0."""
    found = place(number)
    assert found is not None
    x, y = found
    return (x - RADIUS, y - RADIUS, x + RADIUS + 1.0, y + RADIUS + 1.0)


def region(*sequence: dict[str, Any], name: str = "r1") -> dict[str, Any]:
    value = {"framesCount": COUNT, "duration": COUNT / RATE, "sequence": list(sequence), "labels": ["Ball"]}
    return {"id": name, "from_name": "box", "to_name": "video", "type": "videorectangle", "value": value}


def request(*drawn: dict[str, Any], fps: float = RATE, picture: str = "ball.mp4") -> dict[str, Any]:
    tasks = [{"id": 1, "data": {"video": f"/data/upload/1/{picture}", "fps": fps}}]
    context = {"result": list(drawn)} if drawn else None
    return {"tasks": tasks, "project": "7.1", "label_config": CONFIG, "params": {"context": context}}


def box_at(sequence: list[dict[str, Any]], number: int) -> Box | None:
    """What the editor shows in frame `number`: straight lines between keyframes, nothing after a disabled one."""
    before = [one for one in sequence if one["frame"] <= number]
    after = [one for one in sequence if one["frame"] > number]
    if not before or (before[-1]["frame"] < number and not before[-1]["enabled"]):
        return None
    one = before[-1]
    share = (number - one["frame"]) / (after[0]["frame"] - one["frame"]) if after else 0.0
    names = ("x", "y", "width", "height")
    x, y, width, height = (one[key] + share * ((after[0] if after else one)[key] - one[key]) for key in names)
    return (x * WIDTH / 100, y * HEIGHT / 100, (x + width) * WIDTH / 100, (y + height) * HEIGHT / 100)


def overlap(first: Box, second: Box) -> float:
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return both / (areas - both)


@pytest.mark.slow
def test_a_box_drawn_in_the_first_frame_follows_its_object_and_is_off_while_it_is_away(video: bytes) -> None:
    drawn = region(keyframe(1, around(0)))
    with backend(video, tolerance=3.0) as client:
        [prediction] = client.post("/predict", json=request(drawn)).json()["results"]
    [answered] = prediction["result"]
    assert (answered["id"], answered["from_name"], answered["type"]) == ("r1", "box", "videorectangle")
    assert answered["value"]["labels"] == ["Ball"]
    assert (answered["value"]["framesCount"], answered["value"]["duration"]) == (COUNT, COUNT / RATE)
    sequence = answered["value"]["sequence"]
    assert sequence[0] == {**drawn["value"]["sequence"][0], "enabled": True}
    assert len(sequence) < COUNT * 2 / 3  # straight lines take few keyframes
    for number in range(COUNT):
        shown = box_at(sequence, number + 1)
        if place(number) is None:
            assert shown is None, number
        elif not 18 <= number < 20:  # it may take a look or two to be recognised
            assert shown is not None, number
            assert overlap(shown, around(number)) > FOLLOWED, number


@pytest.mark.slow
def test_asking_again_goes_on_from_the_last_keyframe(video: bytes) -> None:
    with backend(video, frames=5) as client:
        drawn = region(keyframe(1, around(0)))
        reached = [1]
        for _ in range(2):
            [prediction] = client.post("/predict", json=request(drawn)).json()["results"]
            [drawn] = prediction["result"]
            assert drawn["value"]["sequence"][-1]["enabled"] is False  # what was not looked at is not claimed
            reached.append(drawn["value"]["sequence"][-1]["frame"])
    assert reached == [1, 5, 9]
    for number in range(9):
        shown = box_at(drawn["value"]["sequence"], number + 1)
        assert shown is not None
        assert overlap(shown, around(number)) > FOLLOWED


@pytest.mark.slow
def test_two_boxes_are_followed_each_from_its_own_frame(video: bytes) -> None:
    first = region(keyframe(1, around(0)))
    second = region(keyframe(4, (39, 157, 81, 199)), name="r2")
    with backend(video, frames=8) as client:
        [prediction] = client.post("/predict", json=request(first, second)).json()["results"]
    answered = {one["id"]: one["value"]["sequence"] for one in prediction["result"]}
    assert answered.keys() == {"r1", "r2"}
    assert (answered["r1"][-1]["frame"], answered["r2"][0]["frame"], answered["r2"][-1]["frame"]) == (8, 4, 8)


@pytest.mark.slow
@pytest.mark.parametrize("fps", [6, 24])
def test_frames_are_counted_at_the_rate_that_the_editor_counts_them(video: bytes, fps: int) -> None:
    with backend(video, frames=10) as client:
        [prediction] = client.post("/predict", json=request(region(keyframe(1, around(0))), fps=fps)).json()["results"]
    sequence = prediction["result"][0]["value"]["sequence"]
    for number in range(1, 7):
        shown = box_at(sequence, number)
        assert shown is not None
        assert overlap(shown, around((number - 1) * RATE // fps)) > FOLLOWED
    assert sequence[-1]["time"] == sequence[-1]["frame"] / fps


@pytest.mark.slow
def test_what_a_source_finds_is_followed_when_predictions_are_retrieved(video: bytes) -> None:
    class Finder:
        def prompts(self, images: Any, requests: object = None) -> list[Prompts]:
            return [Prompts.from_boxes([around(0), (1, 1, 9, 9)], labels=["ball", "unheard of"]) for _ in images]

    with backend(video, source=Finder(), whole=True, frames=6) as client:
        [prediction] = client.post("/predict", json=request()).json()["results"]
    [answered] = prediction["result"]
    assert answered["value"]["labels"] == ["Ball"]
    assert (answered["value"]["framesCount"], answered["value"]["duration"]) == (COUNT, pytest.approx(2, abs=0.1))
    shown = box_at(answered["value"]["sequence"], 6)
    assert shown is not None
    assert overlap(shown, around(5)) > FOLLOWED


def test_without_a_source_only_what_is_drawn_is_followed(video: bytes) -> None:
    with backend(video) as client:
        [prediction] = client.post("/predict", json=request()).json()["results"]
    assert "result" not in prediction
    assert "--source" in prediction["error"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (request(region(keyframe(1, around(0))), picture="gone.mp4"), "expected a video; got status 404"),
        (request(region()), "expected a sequence"),
        (request(region({"frame": 0})), "counted from 1"),
        (request(region({"frame": True})), "counted from 1"),
        (request(region({"frame": 1})), "x must be a finite number"),
        (request(region(keyframe(1, around(0), x=10**300))), "x must be a percentage"),
        (request(region(keyframe(1, (500, 500, 600, 600)))), "rectangle inside the image"),
        (request({"to_name": "video", "type": "videotimeline", "value": {}}), "expected a rectangle drawn"),
    ],
)
def test_what_cannot_be_followed_is_refused_in_one_line(video: bytes, body: dict[str, Any], says: str) -> None:
    with backend(video) as client:
        response = client.post("/predict", json=body)
    assert response.status_code == 400, response.text
    assert says in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_what_is_no_video_is_said() -> None:
    with backend(b"no video at all") as client:
        response = client.post("/predict", json=request(region(keyframe(1, around(0)))))
    assert response.status_code == 400
    assert "expected a video" in response.json()["error"]


def test_a_region_beyond_the_end_of_the_video_stays_as_it_is(video: bytes) -> None:
    drawn = region(keyframe(900, around(0)))
    with backend(video) as client:
        [prediction] = client.post("/predict", json=request(drawn)).json()["results"]
    assert prediction["result"][0]["value"]["sequence"] == drawn["value"]["sequence"]


def test_the_way_to_the_first_frame_ends_with_the_time_or_with_whoever_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = threading.Event()
    read: list[int] = []

    class Endless:
        length, rate = None, Fraction(25)

        def __iter__(self) -> Iterator[VideoFrame]:
            for number in range(1000):
                if number == 5:
                    stop.set()
                read.append(number)
                yield VideoFrame(number, Fraction(number), Image(np.zeros((9, 9, 3), np.uint8)))

        def close(self) -> None:
            pass

    monkeypatch.setattr("samovar_adapters.video.open_frames", lambda source: Endless())
    runtime = load("default", cache="off")
    for until in (time.monotonic() + 600, time.monotonic() - 1):
        found = follow_video(
            runtime, Path("film.mp4"), 25.0, 1 << 30, lambda number, image: Prompts.of([]),
            most=10, until=until, stop=stop,
        )  # fmt: skip
        assert found.size is None
        assert len(read) < 10
        stop.clear()
        read.clear()


def test_the_configurations_rate_is_a_number_a_key_of_the_data_or_the_editors_own() -> None:
    def rate(text: str, data: dict[str, Any]) -> float:
        config = CONFIG.replace("$fps", text)
        return parse(config).videos["video"].rate({"data": data})

    assert rate("25.0", {}) == 25
    assert rate("$fps", {"fps": "29.97"}) == 29.97
    assert rate("0.04", {}) == 25
    assert rate("$fps", {"fps": 10**400}) == 24
    assert [rate(text, {}) for text in ("", "$fps", "fast", "0", "-3", "inf", "nan")] == [24] * 7


def test_a_configuration_says_where_its_videos_are() -> None:
    config = parse(CONFIG)
    assert (config.images, config.videos["video"].boxes, config.videos["video"].labels) == ({}, "box", ("Ball", "Bat"))
    with pytest.raises(InputError, match="VideoRectangle"):
        parse('<View><Video name="v" value="$v"/><Choices name="c" toName="v"/></View>')


edges = st.integers(0, 60)
boxes = st.dictionaries(
    st.integers(1, 60), st.none() | st.tuples(edges, edges, st.integers(61, 120), st.integers(61, 120)), min_size=1
)


@given(boxes, st.sampled_from([0.0, 1.0, 5.0]), st.booleans())
def test_keyframes_show_every_box_within_the_tolerance_and_nothing_where_there_is_none(
    found: dict[int, Box | None], tolerance: float, open_end: bool
) -> None:
    sequence = keyframes_of(found, FRAME, RATE, tolerance, open_end=open_end)
    assert [one["frame"] for one in sequence] == sorted(one["frame"] for one in sequence)
    numbers = sorted(found)
    for number in numbers:
        shown, box = box_at(sequence, number), found[number]
        if box is None:
            assert shown is None
        else:
            assert shown is not None
            assert np.abs(np.subtract(shown, box)).max() <= tolerance + 1e-6
    last = box_at(sequence, numbers[-1] + 1)
    assert (last is not None) == (open_end and found[numbers[-1]] is not None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["sequence", "frame", "x", "y", "width", "height", "rotation", "enabled"]), inner, max_size=5),
    max_leaves=16,
)  # fmt: skip


@given(st.lists(JSON.map(lambda value: {"to_name": "video", "type": "videorectangle", "value": value}), max_size=3))
def test_any_regions_are_read_or_one_of_our_errors(result: list[Any]) -> None:
    with contextlib.suppress(PromptError):
        for drawn in read_tracks(result, "video"):
            drawn.prompt(FRAME)
