"""`/sam/…` over HTTP, asked by `webuiapi`, a published client of the WebUI and its Segment Anything extension."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import uvicorn
import webuiapi
from PIL import Image as Pillow

from samovar import Runtime
from samovar_adapters.serve import BodyLimits, Engine, create_app
from samovar_adapters.webui.routes import routes
from tests.fakes import FilledBoxes, WordBoxes

WIDTH, HEIGHT = 60, 40


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """The client, with the server's address for the WebUI's, which is all that changes for its users."""
    engine = Engine(lambda: Runtime(FilledBoxes(), name="boxes", converters=[WordBoxes()]), name="boxes")
    bodies = BodyLimits(1 << 20, 1 << 22)
    app = create_app(engine, routes=routes(engine, bodies), bodies=bodies)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        deadline = time.monotonic() + 60
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield webuiapi.SegmentAnythingInterface(webuiapi.WebUIApi(port=listening.getsockname()[1]))
        server.should_exit = True
        thread.join(60)


@pytest.fixture(scope="module")
def picture() -> Pillow.Image:
    return Pillow.new("RGB", (WIDTH, HEIGHT), (200, 0, 0))


def white(mask: Pillow.Image) -> np.ndarray:
    return np.asarray(mask.convert("L")) > 127


def columns(first: int, last: int) -> np.ndarray:
    return np.tile((np.arange(WIDTH) >= first) & (np.arange(WIDTH) < last), (HEIGHT, 1))


def test_it_is_up_and_has_a_model(client: Any) -> None:
    assert client.heartbeat() == {"msg": "Success!"}
    assert client.get_sam_models() == ["boxes"]


def test_clicks(client: Any, picture: Pillow.Image) -> None:
    answer = client.sam_predict(image=picture, sam_positive_points=[[30, 20]], sam_negative_points=[[2, 2]])
    assert len(answer.masks) == len(answer.blended_images) == len(answer.masked_images) == 3
    assert all(mask.size == (WIDTH, HEIGHT) for mask in answer.masks)
    assert white(answer.masks[0])[20, 25]


def test_words(client: Any, picture: Pillow.Image) -> None:
    answer = client.sam_predict(image=picture, dino_enabled=True, dino_text_prompt="left")
    assert np.array_equal(white(answer.masks[0]), columns(0, 30))
    assert client.dino_predict(image=picture, text_prompt="left").image_with_box.size == (WIDTH, HEIGHT)


def test_a_mask_is_dilated(client: Any, picture: Pillow.Image) -> None:
    mask = Pillow.fromarray(columns(20, 30).astype(np.uint8) * 255)
    answer = client.dilate_mask(image=picture, mask=mask, dilate_amount=10)
    assert np.array_equal(white(answer.mask), columns(15, 35))


def test_a_control_picture_of_every_object(client: Any, picture: Pillow.Image) -> None:
    answer = client.generate_semantic_segmentation(
        image=picture, processor="random", points_per_side=2, pred_iou_thresh=0.1, stability_score_thresh=0.1
    )
    colours = np.unique(np.asarray(answer.random_seg).reshape(-1, 3), axis=0)
    assert len(colours) >= 4


def test_masks_of_categories(client: Any, picture: Pillow.Image) -> None:
    answer = client.sam_and_semantic_seg_with_cat_id(image=picture, category="left+7", processor="seg_ofade20k")
    assert np.array_equal(white(answer.mask), columns(0, 30))
    assert answer.resized_input.size == answer.masked_image.size == (WIDTH, HEIGHT)
