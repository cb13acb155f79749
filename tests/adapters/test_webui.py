"""`/sam/…` as clients of sd-webui-segment-anything call it, by the published interface, and what is answered."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient

from samovar import Runtime
from samovar_adapters.serve import BodyLimits, Engine, find_routes
from samovar_adapters.webui.routes import routes, words_of
from tests.adapters.serve.served import client_of, flat
from tests.fakes import FilledBoxes, WordBoxes

PICTURE = base64.b64encode(flat(200)).decode()  # 60×40
CHECKPOINT = "sam_vit_h_4b8939.pth"
CHOOSING = {
    "input_image": PICTURE,
    "dino_enabled": True,
    "dino_text_prompt": "both",
    "dino_preview_checkbox": True,
}


@pytest.fixture
def client() -> Iterator[TestClient]:
    engine = Engine(lambda: Runtime(FilledBoxes(), name="boxes", converters=[WordBoxes()]), name="boxes")
    with client_of(engine, routes=routes(engine, BodyLimits(1 << 20, 1 << 22))) as client:
        yield client


def picture(text: str) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(text))))


def test_heartbeat_and_models(client: TestClient) -> None:
    assert client.get("/sam/heartbeat").json() == {"msg": "Success!"}
    assert client.get("/sam/sam-model").json() == ["boxes"]


@pytest.mark.parametrize("image", [PICTURE, f"data:image/png;base64,{PICTURE}"])
def test_clicks_give_three_masks_blended_alone_and_cut_out(client: TestClient, image: str) -> None:
    body = {
        "sam_model_name": CHECKPOINT,
        "input_image": image,
        "sam_positive_points": [[30, 20]],
        "sam_negative_points": [],
        "dino_enabled": False,
    }
    answer = client.post("/sam/sam-predict", json=body).json()
    assert {name: len(value) for name, value in answer.items() if name != "msg"} == {
        "blended_images": 3,
        "masks": 3,
        "masked_images": 3,
    }
    mask = picture(answer["masks"][0])
    wanted = np.zeros((40, 60), np.uint8)
    wanted[10:30, 20:40] = 255
    assert np.array_equal(mask, wanted)
    cut = picture(answer["masked_images"][0])
    assert np.array_equal(cut[..., 3], wanted)
    blend = picture(answer["blended_images"][0])
    assert (blend[wanted == 0] == (200, 0, 0)).all()
    assert (blend[wanted > 0] != (200, 0, 0)).any()


def test_words_are_grounded_and_their_boxes_can_be_chosen(client: TestClient) -> None:
    body: dict[str, Any] = {
        "input_image": PICTURE,
        "dino_enabled": True,
        "dino_model_name": "GroundingDINO_SwinT_OGC (694MB)",
        "dino_text_prompt": "both",
        "dino_box_threshold": 0.3,
    }
    both = picture(client.post("/sam/sam-predict", json=body).json()["masks"][0])
    assert (both == 255).all()
    chosen = {"dino_preview_checkbox": True, "dino_preview_boxes_selection": [1]}
    right = picture(client.post("/sam/sam-predict", json=body | chosen).json()["masks"][0])
    assert (right[:, 30:] == 255).all()
    assert (right[:, :30] == 0).all()


def test_boxes_of_words_are_drawn(client: TestClient) -> None:
    body = {"input_image": PICTURE, "text_prompt": "left", "box_threshold": 0.3}
    answer = client.post("/sam/dino-predict", json=body).json()
    assert answer["msg"] == "Done"
    drawn = picture(answer["image_with_box"])
    assert (drawn[:, 40:] == (200, 0, 0)).all()
    assert (drawn[:, :30] != (200, 0, 0)).any()


def test_a_mask_grows_by_a_brush_of_that_width(client: TestClient) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[20, 30] = 255
    sent = io.BytesIO()
    Pillow.fromarray(mask).save(sent, "PNG")
    body = {"input_image": PICTURE, "mask": base64.b64encode(sent.getvalue()).decode(), "dilate_amount": 10}
    answer = client.post("/sam/dilate-mask", json=body).json()
    assert list(answer) == ["blended_image", "mask", "masked_image"]
    grown = picture(answer["mask"]) > 0
    assert np.array_equal(np.flatnonzero(grown.any(axis=0))[[0, -1]], [25, 35])
    assert np.array_equal(np.flatnonzero(grown.any(axis=1))[[0, -1]], [15, 25])


def test_every_object_in_a_colour_of_its_own(client: TestClient) -> None:
    body = {
        "payload": {"sam_model_name": CHECKPOINT, "input_image": PICTURE, "processor": "random"},
        "autosam_conf": {"points_per_side": 2, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.1},
    }
    answer = client.post("/sam/controlnet-seg", json=body).json()
    assert sorted(answer) == ["blended_image", "blended_images", "edit_anything_control", "msg", "random_seg"]
    assert len(np.unique(picture(answer["random_seg"]).reshape(-1, 3), axis=0)) >= 4
    assert set(np.unique(picture(answer["edit_anything_control"])[..., 0])) >= {0, 1, 2}


@pytest.mark.parametrize(
    ("category", "processor", "white"),
    [
        ("left", "seg_ofade20k", [(0, 30)]),
        ("left+right", "seg_ufade20k", [(0, 60)]),
        ("0", "seg_ofcoco", []),  # "person", of which the picture has none
    ],
)
def test_categories_are_found_by_their_names(
    client: TestClient, category: str, processor: str, white: list[tuple[int, int]]
) -> None:
    body = {"payload": {"input_image": PICTURE, "category": category, "processor": processor}, "autosam_conf": {}}
    answer = client.post("/sam/category-mask", json=body).json()
    assert list(answer) == ["msg", "blended_image", "mask", "masked_image", "resized_input"]
    wanted = np.zeros((40, 60), np.uint8)
    for x1, x2 in white:
        wanted[:, x1:x2] = 255
    assert np.array_equal(picture(answer["mask"]), wanted)


@pytest.mark.parametrize(
    ("category", "processor", "words"),
    [
        ("7+12", "seg_ofade20k", ["bed", "person"]),  # the extension's own example, in both numberings
        ("59+0", "seg_ofcoco", ["bed", "person"]),
        ("149", "seg_ufade20k", ["flag"]),
        ("132 + teapot", "seg_ofcoco", ["rug", "teapot"]),
    ],
)
def test_categories_have_the_numbers_of_their_data_set(category: str, processor: str, words: list[str]) -> None:
    assert words_of(category, processor) == words


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("category-mask", {"input_image": PICTURE}, "numbers or words"),
        ("category-mask", {"input_image": PICTURE, "category": "7++12"}, "numbers or words"),
        ("category-mask", {"input_image": PICTURE, "category": "150"}, "0 to 149"),
        ("category-mask", {"input_image": PICTURE, "category": "7", "processor": "seg_x"}, "expected one of seg_uf"),
        ("sam-predict", {}, "input_image: expected a picture in base64"),
        ("sam-predict", {"input_image": "/etc/passwd"}, "files are not opened"),
        ("sam-predict", {"input_image": PICTURE, "sam_positive_points": [1, 2]}, "sam_positive_points"),
        ("sam-predict", {"input_image": PICTURE, "sam_positive_points": [[10**300, 2]]}, "points must be finite"),
        ("sam-predict", {"input_image": "é"}, "files are not opened"),
        ("sam-predict", {"input_image": PICTURE, "dino_enabled": True}, "expected words"),
        ("sam-predict", CHOOSING | {"dino_preview_boxes_selection": ["left"]}, "dino_preview_boxes_selection"),
        ("sam-predict", CHOOSING | {"dino_preview_boxes_selection": 7}, "dino_preview_boxes_selection"),
        ("dilate-mask", {"input_image": PICTURE, "mask": PICTURE, "dilate_amount": -1}, "dilate_amount"),
        ("controlnet-seg", {"input_image": PICTURE, "points_per_side": "many"}, "points_per_side"),
    ],
)
def test_bad_requests_are_refused_in_one_line(client: TestClient, path: str, body: dict[str, Any], says: str) -> None:
    response = client.post(f"/sam/{path}", json=body)
    assert response.status_code == 422
    assert says in response.json()["detail"]
    assert "\n" not in response.json()["detail"]


def test_samovar_serve_mounts_the_routes_for_those_who_ask() -> None:
    engine = Engine(lambda: Runtime(FilledBoxes()))
    paths = {getattr(route, "path", "") for route in find_routes("webui")(engine, BodyLimits(1, 1))}
    assert {"/sam/heartbeat", "/sam/sam-predict", "/sam/dino-predict", "/sam/dilate-mask"} <= paths
    assert {"/sam/controlnet-seg", "/sam/category-mask"} <= paths
    with client_of(engine) as client:
        assert client.get("/sam/heartbeat").status_code == 404


# Written down from the extension's published interface and from clients that are published with their source; an answer
# is compared by its fields, and its pictures by mode and size.
EXCHANGES = json.loads(Path(__file__).with_name("webui_exchanges.json").read_text(encoding="utf-8"))


def shape(value: Any) -> Any:
    """An answer with "text" for its messages and mode and size for its pictures."""
    if isinstance(value, list):
        return [shape(one) for one in value]
    if isinstance(value, dict):
        return {name: "text" if name == "msg" and isinstance(one, str) else shape(one) for name, one in value.items()}
    read = Pillow.open(io.BytesIO(base64.b64decode(value)))
    return f"{read.mode} {read.width}x{read.height}"


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["client"])
def test_what_clients_send_is_answered_in_the_form_they_read(client: TestClient, exchange: dict[str, Any]) -> None:
    mask = io.BytesIO()
    Pillow.fromarray(np.eye(40, 60, dtype=np.uint8) * 255).save(mask, "PNG")
    body = json.dumps(exchange.get("body")).replace("$PICTURE", PICTURE)
    body = body.replace("$MASK", base64.b64encode(mask.getvalue()).decode())
    response = client.request(exchange["method"], exchange["path"], content=body if "body" in exchange else None)
    assert response.status_code == 200
    assert shape(response.json()) == exchange["answer"]
