"""The HTTP API: what it answers, what it refuses, and that a refusal is one line."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from samovar import Embedding, Masks
from samovar.schema import PROMPT_KEYS
from samovar.types import KINDS
from tests.adapters.serve.served import SlowRed, client_of, engine_of, flat
from tests.fakes import FilledBoxes
from tests.hostile import png_header


@pytest.fixture
def client() -> Iterator[TestClient]:
    with client_of(engine_of(FilledBoxes())) as client:
        yield client


def key_of(client: TestClient, data: bytes) -> str:
    return str(client.post("/v1/embed", content=data).json()["image"])


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def error_of(response: Any) -> str:
    assert list(response.json()) == ["error"], response.text
    message = str(response.json()["error"])
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def test_a_picture_travels_once_and_is_then_named(client: TestClient) -> None:
    first = client.post("/v1/embed", content=flat(51)).json()
    assert (first["width"], first["height"], first["cached"]) == (60, 40, False)
    assert client.post("/v1/embed", content=flat(51)).json()["cached"] is True
    body = {"image": first["image"], "prompts": [{"box": [2, 3, 12, 23], "label": "door", "id": 7}]}
    answer = client.post("/v1/segment", json=body).json()
    [mask] = answer["masks"]
    assert (mask["box"], mask["area"], mask["label"], mask["id"]) == ([2, 3, 12, 23], 200, "door", 7)
    assert Masks.from_coco_rle([mask["segmentation"]]).areas.tolist() == [200]


def test_a_picture_may_come_with_the_prompts(client: TestClient) -> None:
    body = {"image": data_url(flat(51)), "prompts": [{"points": [[20, 20]]}], "polygons": True, "multimask": True}
    masks = client.post("/v1/segment", json=body).json()["masks"]
    assert len(masks) == 2
    assert sorted(masks[0]["polygons"][0][0]) == [[10, 10], [10, 30], [30, 10], [30, 30]]


def test_auto_finds_masks(client: TestClient) -> None:
    parameters = {"points_per_side": 2, "pred_iou_thresh": 0.0}
    body = {"image": data_url(flat(51)), "parameters": parameters}
    assert len(client.post("/v1/auto", json=body).json()["masks"]) == 8  # two for each point of the grid


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"image": "0" * 64, "prompts": []}, 404, "send it to /v1/embed again"),
        ({"image": "data:image/png;base64,AAAA", "prompts": []}, 400, "image"),
        ({"image": "/etc/passwd", "prompts": []}, 404, "no such image"),
        ({"image": "http://127.0.0.1/secret", "prompts": []}, 404, "no such image"),
        ({"image": 7, "prompts": []}, 400, "image: expected a string; got a number"),
        ({"image": data_url(flat(1))}, 400, "expected the key 'prompts'; got none; write e.g."),
        ({"image": data_url(flat(1)), "prompts": [{"mask": "/etc/passwd"}]}, 400, "prompts: item 0: no such image"),
        (
            {"image": data_url(flat(1)), "prompts": {"a": [{"mask": "/etc/passwd"}]}},
            400,
            "prompts: expected a list; got an object",
        ),
        ({"image": data_url(flat(1)), "prompts": [{"box": [5, 5, 5, 5]}]}, 400, "box"),
        ({"image": data_url(flat(1)), "prompts": [{"points": [[900, 1]]}]}, 400, "outside"),
        ({"image": data_url(flat(1)), "prompts": [{"points": [[10**300, 1]]}]}, 400, "points"),
        ({"image": data_url(flat(1)), "prompts": [{"text": "cat"}]}, 400, "text"),
        ({"image": data_url(flat(1)), "prompts": [5]}, 400, "prompts[0]: expected an object or a list; got a number"),
        ({"image": data_url(flat(1)), "prompts": [{"bbox": 1}]}, 400, "prompts[0]: expected the keys points, "),
        ({"image": data_url(flat(1)), "prompts": [[1, 1], {"box": 7}]}, 400, "prompts[1].box: expected a list or null"),
        ({"image": data_url(flat(1)), "prompts": [[1, 1], [1, 2, 3]]}, 400, "item 1: a row must be a box x1 y1 x2 y2"),
        (
            {"image": data_url(flat(1)), "prompts": [{"exemplar": {"image": "/etc/passwd", "mask": "x"}}]},
            400,
            "prompts: item 0: no such image",
        ),
        (
            {"image": data_url(flat(1)), "prompts": [[1, 1]], "multimask": "yes"},
            400,
            "multimask: expected true or false; got a string",
        ),
        ({"image": data_url(flat(1)), "prompts": [[1, 1]], "polygons": True, "tolerance": -1}, 400, "tolerance"),
        (
            {"image": data_url(flat(1)), "prompts": [], "prompt": []},
            400,
            "expected the keys image, prompts, multimask, polygons, tolerance; got 'prompt'; did you mean prompts?",
        ),
        ({"image": data_url(flat(1)), "prompts": [[1, 1]] * 10_001}, 400, "at most 10000 prompts"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(client: TestClient, body: Any, status: int, says: str) -> None:
    response = client.post("/v1/segment", json=body)
    assert response.status_code == status
    assert says in error_of(response)


@pytest.mark.parametrize("name", ["image", "cancel", "self", "points"])
def test_parameters_are_those_of_automatic_masks(client: TestClient, name: str) -> None:
    response = client.post("/v1/auto", json={"image": data_url(flat(1)), "parameters": {name: 1}})
    assert response.status_code == 400
    assert "unknown parameter" in error_of(response)


@pytest.mark.parametrize("ident", [10**30, -(2**63), 2**64 - 1, ""])
def test_any_id_rides_through(client: TestClient, ident: object) -> None:
    body = {"image": data_url(flat(1)), "prompts": [{"box": [1, 1, 9, 9], "id": ident}]}
    response = client.post("/v1/segment", json=body)
    assert response.status_code == 200, response.text
    assert response.json()["masks"][0]["id"] == ident


def test_half_a_character_is_refused_and_a_whole_one_answered(client: TestClient) -> None:
    body = '{"image": "%s", "prompts": [{"box": [1, 1, 9, 9], "label": "%s"}]}'
    refused = client.post("/v1/segment", content=body % (data_url(flat(1)), "\\ud83d"))
    assert refused.status_code == 400
    assert "JSON object" in error_of(refused)
    answered = client.post("/v1/segment", content=body % (data_url(flat(1)), "\\ud83d\\ude00"))
    assert answered.json()["masks"][0]["label"] == "😀"


@pytest.mark.parametrize(
    "content", [b"", b"no json", b"[1]", b"[" * 100_000, b'{"image": Infinity}', b'{"image": "\xff"}']
)
def test_a_body_that_is_no_json_object_is_refused(client: TestClient, content: bytes) -> None:
    response = client.post("/v1/segment", content=content)
    assert response.status_code == 400
    assert "JSON object" in error_of(response)


@pytest.mark.parametrize("content", [b"", b"no picture", png_header(100_000, 100_000)])
def test_a_body_that_is_no_picture_is_refused(client: TestClient, content: bytes) -> None:
    response = client.post("/v1/embed", content=content)
    assert response.status_code == 400
    error_of(response)


def test_a_body_beyond_the_bound_is_refused_whether_it_says_so_or_not(client: TestClient) -> None:
    assert client.post("/v1/embed", content=b"x" * (1 << 21)).status_code == 413

    def drip() -> Iterator[bytes]:
        yield from (b"x" * 65_536 for _ in range(64))

    assert client.post("/v1/embed", content=drip()).status_code == 413


def test_an_unknown_path_or_method_is_an_answer_in_json(client: TestClient) -> None:
    assert client.get("/nothing").status_code == 404
    assert error_of(client.get("/v1/segment")) == "Method Not Allowed"


def test_an_error_inside_a_model_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FilledBoxes):
        def decode(self, *given: Any) -> list[Masks]:
            raise RuntimeError("secret path /srv/weights")

    with client_of(engine_of(Broken())) as client:
        body = {"image": data_url(flat(1)), "prompts": [[1, 1]]}
        response = client.post("/v1/segment", json=body)
        assert response.status_code == 500
        assert "secret" not in error_of(response)
        assert "secret path" in caplog.text
        assert client.get("/health").status_code == 200


def test_health_answers_while_the_model_is_busy_and_before_it_is_loaded() -> None:
    segmenter = SlowRed()
    with client_of(engine_of(segmenter)) as client:
        assert client.get("/health").json()["status"] == "UP"
        segmenter.allowed.set()


def test_with_a_password_only_health_is_open() -> None:
    with client_of(engine_of(FilledBoxes()), auth=("ann", "s3cret:x")) as client:
        assert client.get("/health").status_code == 200
        for path in ("/", "/metrics", "/v1/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, auth=("ann", "wrong")).status_code == 401
            assert client.get(path, auth=("ann", "s3cret:x")).status_code == 200
        assert client.get("/metrics", headers={"Authorization": "Basic ***"}).status_code == 401


def test_metrics_count_requests_encodes_and_batches(client: TestClient) -> None:
    key = key_of(client, flat(51))
    for _ in range(3):
        client.post("/v1/segment", json={"image": key, "prompts": [[20, 20]]})
    client.get("/../../etc/passwd")
    page = client.get("/metrics").text
    assert 'samovar_requests_total{route="/v1/segment",status="200"} 3.0' in page
    assert "samovar_encode_seconds_count 1.0" in page
    assert "samovar_decode_batch_count 3.0" in page
    assert 'route="other"' in page


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
        ("/docs", "text/html"),
        ("/docs.js", "text/javascript"),
    ],
)
def test_the_pages_and_what_they_load_come_from_here_alone(client: TestClient, path: str, kind: str) -> None:
    response = client.get(path)
    assert response.headers["content-type"].startswith(kind)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert "://" not in response.text.replace("http://www.w3.org/2000/svg", "")


# ------------------------------------------------------------------------------------------- the description


class TakesAll(FilledBoxes):
    """Answers masks, words and examples, too, always with the same square."""

    prompt_kinds = frozenset(KINDS)

    @staticmethod
    def _box(box: Any, points: Any, embedding: Embedding) -> tuple[int, int, int, int]:
        if box is None and points is None:
            return 1, 2, 9, 12
        return FilledBoxes._box(box, points, embedding)


@pytest.fixture(scope="module")
def described() -> Any:
    with client_of(engine_of(FilledBoxes())) as client:
        assert client.get("/openapi.json").json() == client.get("/v1/openapi.json").json()
        return client.get("/openapi.json").json()


def checker(described: Any, schema: Any) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": described["components"]})


def bodies_of(described: Any) -> Iterator[tuple[str, str, Any, Any]]:
    """Path, name of the example, operation and body of all that can be posted in JSON."""
    for path, methods in described["paths"].items():
        content = methods["post"]["requestBody"]["content"].get("application/json", {})
        for name, one in content.get("examples", {}).items():
            yield path, name, methods["post"], one["value"]


def schema_of(part: Any) -> Any:
    return part["content"]["application/json"]["schema"]


def test_the_description_is_of_every_route_of_the_api_and_its_schemas_are_schemas(described: Any) -> None:
    assert described["openapi"].startswith("3.1")
    assert set(described["paths"]) == {"/v1/embed", "/v1/segment", "/v1/auto"}
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_example_of_the_description_is_answered_as_it_says(described: Any) -> None:
    used: set[str] = set()
    with client_of(engine_of(TakesAll())) as client:
        answer = client.post("/v1/embed", content=flat(51)).json()
        checker(described, schema_of(described["paths"]["/v1/embed"]["post"]["responses"]["200"])).validate(answer)
        for path, name, operation, body in bodies_of(described):
            checker(described, schema_of(operation["requestBody"])).validate(body)
            response = client.post(path, json=body)
            assert response.status_code == 200, (path, name, response.text)
            checker(described, schema_of(operation["responses"]["200"])).validate(response.json())
            assert response.json()["masks"], (path, name)
            used |= {key for prompt in body.get("prompts", ()) if isinstance(prompt, dict) for key in prompt}
    assert used == set(PROMPT_KEYS)


@pytest.mark.parametrize(
    ("prompt", "fits"),
    [
        ([4, 2, 27, 19], True),
        ([4, 2], True),
        ([4, 2, 7], False),
        ({"box": [1, 2, 3, 4]}, True),
        ({"box": [1, 2, 3]}, False),
        ({"box": None, "points": [[1, 2]]}, True),
        ({"points": [1, 2]}, True),
        ({"points": [[1, 2, 3]]}, False),
        ({"points": [[1, 2]], "point_labels": [2]}, False),
        ({"points": [1, 2], "point_labels": 0}, True),
        ({"points": [1, 2], "point_labels": 2}, False),
        ({"points": [[1, 2], [3, 4]], "point_labels": [True, False]}, True),
        ({"box": [1, 2, 3, 4], "id": True}, False),
        ({"box": [1, 2, 3, 4], "id": "a"}, True),
        ({"box": [1, 2, 3, 4], "colour": "red"}, False),
        ({"mask": {"size": [40, 60], "counts": [0, 2400]}}, True),
        ({"mask": 5}, False),
        (5, False),
    ],
)
def test_the_description_and_the_server_agree_on_what_a_prompt_is(described: Any, prompt: Any, fits: bool) -> None:
    body = {"image": data_url(flat(51)), "prompts": [prompt]}
    request = schema_of(described["paths"]["/v1/segment"]["post"]["requestBody"])
    assert checker(described, request).is_valid(body) == fits
    with client_of(engine_of(TakesAll())) as client:
        response = client.post("/v1/segment", json=body)
    assert response.status_code == (200 if fits else 400), response.text
    if not fits:
        error = schema_of(described["paths"]["/v1/segment"]["post"]["responses"]["400"])
        checker(described, error).validate(response.json())
