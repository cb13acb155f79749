"""The backend protocol over HTTP: clicks, batches, webhooks and everything that can be wrong with a request."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from samovar import Image, Prompts, Runtime
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.predictor import BackendOptions
from samovar_adapters.label_studio.regions import decode_brush
from samovar_adapters.label_studio.routes import backend_routes
from samovar_adapters.serve import BodyLimits, Engine
from tests.adapters.label_studio.backends import CONFIG, backend, click, request, studio_files, task
from tests.adapters.label_studio.servers import serving
from tests.adapters.serve.served import SlowRed, client_of, engine_of, flat
from tests.fakes import FilledBoxes, WordBoxes


@pytest.mark.slow
def test_a_click_is_answered_with_the_brush_region_of_its_object() -> None:
    with backend() as (client, _studio, _):
        answer = client.post("/predict", json=request(task(51), drawn=[click()])).json()
        [prediction] = answer["results"]
        [region] = prediction["result"]
        assert (region["from_name"], region["type"], prediction["score"]) == ("brush", "brushlabels", 0.2)
        mask = decode_brush(region["value"]["rle"], 60, 40)
        assert mask.boxes.tolist() == [[20, 10, 40, 30]]


def test_a_second_click_fetches_and_encodes_nothing() -> None:
    segmenter = FilledBoxes()
    with backend(segmenter) as (client, studio, _):
        for x in (50, 40, 30):
            client.post("/predict", json=request(task(51), drawn=[click(x)]))
        assert len(studio.asked) == 1
    assert len(segmenter.encoded) == 1


def test_setup_answers_at_once_though_the_model_is_still_loading() -> None:
    loading = threading.Event()

    def load() -> Any:
        assert loading.wait(20)
        raise RuntimeError

    engine = Engine(load, name="large")
    routes = backend_routes(engine, BodyLimits(1 << 20, 1 << 24), Client(), BackendOptions())
    with client_of(engine, routes=routes) as client:
        began = time.perf_counter()
        version = client.post("/setup", json={"project": "7.1", "schema": CONFIG, "access_token": "dead"}).json()
        assert time.perf_counter() - began < 1
        assert version["model_version"].startswith("large (samovar ")
        assert client.get("/versions", params={"project": "7.1"}).json() == {"versions": [version["model_version"]]}
        loading.set()


def test_a_batch_has_one_entry_a_task_and_names_the_ones_that_failed() -> None:
    class Middle:
        def prompts(self, images: Sequence[Image], requests: object = None) -> list[Prompts]:
            return [Prompts.from_boxes([[5, 5, 15, 15], [0, 0, 9, 9]], labels=["Cat", "unknown"]) for _ in images]

    with backend(options=BackendOptions(whole=True, source=Middle())) as (client, _, _):
        results = client.post("/predict", json=request(task(51), task("gone", 2), task(102, 3))).json()["results"]
    assert [len(one.get("result", "none")) for one in results] == [1, 4, 1]
    assert results[0]["result"][0]["value"]["brushlabels"] == ["cat"]
    assert (results[1]["task"], "404" in results[1]["error"]) == (2, True)
    assert "result" not in results[1]
    assert (results[0]["score"], results[2]["score"]) == (0.2, 0.4)


def test_a_sources_names_are_mapped_to_labels() -> None:
    class Dog:
        def prompts(self, images: Sequence[Image], requests: object = None) -> list[Prompts]:
            return [Prompts.from_boxes([[5, 5, 15, 15]], labels=["felis catus"]) for _ in images]

    with backend(options=BackendOptions(whole=True, source=Dog(), labels={"felis catus": "cat"})) as (client, _, _):
        [one] = client.post("/predict", json=request(task(51))).json()["results"]
    assert one["result"][0]["value"]["brushlabels"] == ["cat"]


def test_a_picture_with_smart_tools_is_not_covered_before_the_first_click() -> None:
    with backend() as (client, _, _):
        [one] = client.post("/predict", json=request(task(51))).json()["results"]
        assert "--source" in one["error"]
        assert len(client.post("/predict", json=request(task(51), drawn=[click()])).json()["results"][0]["result"]) == 1


def test_words_are_passed_over_where_nothing_understands_them() -> None:
    words = {"type": "textarea", "to_name": "image", "value": {"text": ["a note"]}}
    with backend() as (client, _, _):
        answers = [
            client.post("/predict", json=request(task(51), drawn=drawn)) for drawn in ([words], [words, click()])
        ]
    assert [len(answer.json()["results"][0]["result"]) for answer in answers] == [0, 1]


def test_a_token_that_label_studio_refuses_is_said_and_is_no_error_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as stack:
        studio = stack.enter_context(serving(lambda *given: (401, b"{}", {})))
        engine = engine_of(FilledBoxes())
        routes = backend_routes(
            engine, BodyLimits(1 << 20, 1 << 24), Client(studio.url, "head.e30.tail"), BackendOptions()
        )
        client = stack.enter_context(client_of(engine, routes=routes))
        response = client.post("/predict", json=request(task(51), drawn=[click()]))
    assert response.status_code == 502
    assert "make a new one" in response.json()["error"]
    assert "e30" not in response.text + caplog.text
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.slow
def test_a_picture_of_fifty_megabytes_is_answered_and_one_beyond_the_bound_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4100, 4100, 3), np.uint8)
    large = cv2.imencode(".png", noise, [cv2.IMWRITE_PNG_COMPRESSION, 0])[1].tobytes()
    assert len(large) > 50 * 10**6
    with ExitStack() as stack:
        studio = stack.enter_context(serving(lambda *given: (200, large, {})))
        for most, status in ((100 * 10**6, 200), (50 * 10**6, 400)):
            engine = engine_of(FilledBoxes())
            client = Client(studio.url, "abc", max_bytes=most)
            routes = backend_routes(engine, BodyLimits(1 << 20, 1 << 24), client, BackendOptions())
            asking = stack.enter_context(client_of(engine, routes=routes))
            response = asking.post("/predict", json=request(task(51), drawn=[click()]))
            assert response.status_code == status, response.text[:200]
    assert "at most" in response.json()["error"]


def test_words_ask_for_what_a_grounder_finds_under_their_name() -> None:
    # As Label Studio 1.23.2 sends what is entered in a <TextArea smart="true">.
    wire = {"id": "g8", "from_name": "words", "to_name": "image", "type": "textarea", "origin": "manual"}
    words = {**wire, "value": {"text": ["both"]}}
    with ExitStack() as stack:
        studio = stack.enter_context(serving(studio_files))
        engine = Engine(lambda: Runtime(FilledBoxes(), converters=[WordBoxes()]), name="boxes")
        routes = backend_routes(engine, BodyLimits(1 << 20, 1 << 24), Client(studio.url, "abc"), BackendOptions())
        client = stack.enter_context(client_of(engine, routes=routes))
        [prediction] = client.post("/predict", json=request(task(51), drawn=[words])).json()["results"]
    found = [decode_brush(region["value"]["rle"], 60, 40).boxes.tolist() for region in prediction["result"]]
    assert found == [[[0, 0, 30, 40]], [[30, 0, 60, 40]]]


@pytest.mark.slow
def test_two_hundred_clicks_at_once_each_get_their_own_images_answer() -> None:
    segmenter = FilledBoxes()
    with backend(segmenter) as (client, _, _), ThreadPoolExecutor(50) as pool:

        def one(index: int) -> tuple[int, float]:
            red = (index % 16) * 15
            body = request(task(red, index), drawn=[click()])
            response = client.post("/predict", json=body)
            assert response.status_code == 200, response.text
            return red, response.json()["results"][0]["score"]

        for red, score in pool.map(one, range(200)):
            assert score == pytest.approx(red / 255, abs=1e-3)
    assert len(segmenter.encoded) == 16


def test_new_tasks_are_encoded_when_a_webhook_announces_them() -> None:
    segmenter = FilledBoxes()
    with backend(segmenter, warm_new=True) as (client, _, _engine):
        event = {
            "action": "TASKS_CREATED",
            "project": {"id": 7, "label_config": CONFIG},
            "tasks": [task(30), task("x", 2), task(60, 3)],
        }
        assert client.post("/webhook", json=event).status_code == 202
        until = time.monotonic() + 10
        while len(segmenter.encoded) < 2 and time.monotonic() < until:
            time.sleep(0.02)
    assert segmenter.encoded == ["30.png", "60.png"]


def test_training_and_other_events_are_answered_honestly() -> None:
    with backend() as (client, _, _):
        assert client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}}).status_code == 501
        assert "not trained" in client.post("/train", json={}).json()["error"]
        assert client.post("/webhook", json={"action": "ANNOTATION_CREATED"}).json()["status"] == "ignored"
        # Without --warm-new nobody asked for it.
        assert client.post("/webhook", json={"action": "TASKS_CREATED"}).json()["status"] == "ignored"


def test_a_picture_in_the_task_needs_no_server() -> None:
    url = f"data:image/png;base64,{base64.b64encode(flat(51)).decode()}"
    with backend() as (client, studio, _):
        body = request({"id": 1, "data": {"image": url}}, drawn=[click()])
        assert client.post("/predict", json=body).json()["results"][0]["score"] == 0.2
        assert studio.asked == []


def test_a_picture_in_the_task_is_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    image = Client.image

    def counted(client: Client, reference: str, task: int | None = None) -> bytes:
        taken.append(reference)
        return image(client, reference, task)

    monkeypatch.setattr(Client, "image", counted)
    urls = [f"data:image/png;base64,{base64.b64encode(flat(red)).decode()}" for red in (51, 102)]
    with backend() as (client, _, _):
        scores = [
            client.post("/predict", json=request({"id": 1, "data": {"image": url}}, drawn=[click()])).json()
            for url in (*urls, *urls)
        ]
    assert [one["results"][0]["score"] for one in scores] == [0.2, 0.4, 0.2, 0.4]
    assert taken == urls


def test_setup_says_how_label_studio_calls_itself() -> None:
    with backend() as (client, studio, _):
        ask = request({"id": 1, "data": {"image": "http://localhost:8080/data/upload/51.png"}}, drawn=[click()])
        assert "--allow-host" in client.post("/predict", json=ask).json()["error"]
        client.post("/setup", json={"project": "7.1", "schema": CONFIG, "hostname": "http://localhost:8080"})
        assert client.post("/predict", json=ask).json()["results"][0]["score"] == 0.2
        assert [path for path, _ in studio.asked] == ["/data/upload/51.png"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "tasks must be"),
        ({"tasks": []}, "tasks must be"),
        ({"tasks": [7]}, "tasks must be"),
        ({"tasks": [{}] * 1001}, "at most 1000"),
        ({"tasks": [{}], "label_config": None}, "label_config must be"),
        ({"tasks": [{}], "label_config": "<View"}, "not valid XML"),
        (request(task(1), drawn="x"), "must be a list"),
        (request(task(1), drawn=[7]), "expected regions of image"),
        (request(task(1), drawn=[{"to_name": "image", "value": 7}]), "context.result[0]"),
        (request({"id": 4, "data": {}}, drawn=[click()]), "task 4: expected an image in data.image"),
        (request(task("gone"), drawn=[click()]), "404"),
        (request({"id": 4, "data": {"image": "file:///etc/passwd"}}, drawn=[click()]), "expected an image"),
        (request({"id": 4, "data": {"image": "http://169.254.169.254/"}}, drawn=[click()]), "--allow-host"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_in_one_line(body: Any, says: str) -> None:
    with backend() as (client, _, _):
        response = client.post("/predict", json=body)
    assert response.status_code == 400
    assert says in response.json()["error"]
    assert "\n" not in response.json()["error"]


def test_a_slow_picture_does_not_hold_up_another_annotator() -> None:
    segmenter = SlowRed()
    with backend(segmenter) as (client, _, _), ThreadPoolExecutor(8) as pool:
        client.post("/predict", json=request(task(10), drawn=[click()]))
        slow = [
            pool.submit(client.post, "/predict", json=request(task(red), drawn=[click()])) for red in (250, 251, 252)
        ]
        time.sleep(0.2)
        began = time.perf_counter()
        assert client.post("/predict", json=request(task(10), drawn=[click()])).status_code == 200
        assert time.perf_counter() - began < 2
        assert not any(one.done() for one in slow)
        segmenter.allowed.set()
        assert [one.result().status_code for one in slow] == [200] * 3


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.data())
def test_a_captured_request_with_any_part_replaced_is_answered_or_refused(data: st.DataObject) -> None:
    """Never a 500: whatever stands where Label Studio puts something else."""
    body = request(task(51), drawn=[click(), {**click(20, 20), "is_positive": False}])
    at: Any = body
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not (isinstance(at[key], (dict, list)) and at[key] and data.draw(st.booleans())):
            break
        at = at[key]
    at[key] = data.draw(JSON)
    client = _shared()
    for path in ("/predict", "/setup", "/webhook"):
        response = client.post(path, content=json.dumps(body))  # not json=: that refuses to send NaN and infinity
        assert response.status_code in (200, 202, 400, 501), (path, response.text)


_KEPT: list[TestClient] = []
_STACK = ExitStack()


def _shared() -> TestClient:
    """One running backend for all examples."""
    if not _KEPT:
        _KEPT.append(_STACK.enter_context(backend())[0])
    return _KEPT[0]


@pytest.fixture(scope="module", autouse=True)
def closed_at_the_end() -> Iterator[None]:
    yield
    _STACK.close()
    _KEPT.clear()
