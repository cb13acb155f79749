"""What a real Label Studio asks, gets, and stores."""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar import Image, Masks, Prompt, Runtime
from samovar_adapters.label_studio import brush
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.frame import Frame
from tests.label_studio.studio import Backend, Project, Studio, backend_process, config

WIDTH, HEIGHT = 600, 400  # of docs/assets/photo.jpg
CUP = (310.0, 120.0)
SPOON = (363.0, 285.0)


def point(x: float, y: float, *, positive: bool = True) -> dict[str, Any]:
    value = {"x": x * 100 / WIDTH, "y": y * 100 / HEIGHT, "width": 0.3, "keypointlabels": ["thing"]}
    return drawn("smart-keypointlabels", "keypointlabels", value, is_positive=positive)


def box(x1: float, y1: float, x2: float, y2: float) -> dict[str, Any]:
    value = {"x": x1 * 100 / WIDTH, "y": y1 * 100 / HEIGHT, "rotation": 0, "rectanglelabels": ["thing"]}
    value |= {"width": (x2 - x1) * 100 / WIDTH, "height": (y2 - y1) * 100 / HEIGHT}
    return drawn("smart-rectanglelabels", "rectanglelabels", value)


def drawn(name: str, kind: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {"id": "x", "from_name": name, "to_name": "image", "type": kind, "value": value, **size, **more}


def mask_of(prediction: dict[str, Any]) -> Masks:
    [region] = prediction["result"]
    return brush.decode(region["value"]["rle"], WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def project(studio: Studio, backend: Backend) -> Project:
    return studio.project("clicks", config("BrushLabels"), backend)


@pytest.fixture(scope="module")
def task(project: Project, photo: Path) -> int:
    return project.upload(photo)


def test_a_click_gives_the_mask_that_samovar_gives(project: Project, task: int, model: Runtime, photo: Path) -> None:
    prediction = project.click(task, point(*CUP))
    assert mask_of(prediction).same_as(model.segment(photo, Prompt(points=[CUP])))
    [region] = prediction["result"]
    assert (region["from_name"], region["value"]["brushlabels"]) == ("brushlabels", ["thing"])


def test_a_box_gives_the_mask_that_samovar_gives(project: Project, task: int, model: Runtime, photo: Path) -> None:
    given = (160.0, 5.0, 420.0, 215.0)
    mask = mask_of(project.click(task, box(*given)))
    # Percentages and back cost the last digits of a coordinate.
    assert mask.iou(model.segment(photo, Prompt(box=given)))[0, 0] > 0.99


def test_a_negative_click_takes_away(project: Project, task: int, model: Runtime, photo: Path) -> None:
    wanted = model.segment(photo, Prompt(points=[CUP, SPOON], point_labels=[1, 0]))
    mask = mask_of(project.click(task, point(*CUP), point(*SPOON, positive=False)))
    assert mask.same_as(wanted)
    assert not mask.to_array()[0, int(SPOON[1]), int(SPOON[0])]


def test_an_answer_is_refined_by_a_click(project: Project, task: int, model: Runtime, photo: Path) -> None:
    first = project.click(task, point(*CUP))
    refined = mask_of(project.click(task, *first["result"], point(*SPOON)))
    assert refined.same_as(model.segment(photo, Prompt(mask=mask_of(first), points=[SPOON])))


@pytest.mark.parametrize("kind", ["BrushLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels", "KeyPointLabels"])
def test_every_kind_of_region_is_drawn_as_the_configuration_asks(
    kind: str, studio: Studio, backend: Backend, model: Runtime, photo: Path
) -> None:
    project = studio.project(f"draws {kind}", config(kind), backend)
    prediction = project.click(project.upload(photo), point(*CUP))
    assert {region["from_name"] for region in prediction["result"]} == {kind.lower()}
    mask = model.segment(photo, Prompt(points=[CUP]))
    assert mask.iou(_drawn_again(kind, prediction["result"]))[0, 0] > {
        "RectangleLabels": 0.6,
        "EllipseLabels": 0.7,
    }.get(kind, 0.95 if kind != "KeyPointLabels" else -1)
    if kind == "KeyPointLabels":
        x, y = Frame(WIDTH, HEIGHT).point(prediction["result"][0]["value"])
        assert mask.to_array()[0, int(y), int(x)]


def _drawn_again(kind: str, result: list[dict[str, Any]]) -> Masks:
    frame = Frame(WIDTH, HEIGHT)
    values = [region["value"] for region in result]
    if kind == "BrushLabels":
        return brush.decode(values[0]["rle"], WIDTH, HEIGHT)
    if kind == "KeyPointLabels":
        return Masks.from_array(np.zeros((1, HEIGHT, WIDTH), bool))
    draw = {"PolygonLabels": frame.polygon, "RectangleLabels": frame.rectangle, "EllipseLabels": frame.ellipse}[kind]
    return Masks.from_polygons([[draw(value).astype(np.float32) for value in values]], WIDTH, HEIGHT)


def test_retrieved_predictions_are_stored_one_a_task_and_a_failed_task_has_none(
    studio: Studio, backend: Backend, photo: Path, portrait: Path
) -> None:
    project = studio.project("batch", config("BrushLabels", smart=False), backend)
    tasks = [project.upload(photo), project.add("/data/upload/0/missing.jpg"), project.upload(portrait)]
    studio.ask(
        "POST",
        f"/api/dm/actions?id=retrieve_tasks_predictions&project={project.number}",
        {"selectedItems": {"all": False, "included": tasks}},
    )
    stored = [project.task(number)["predictions"] for number in tasks]
    assert [len(predictions) for predictions in stored] == [1, 0, 1]
    assert len(stored[0][0]["result"]) > 3
    assert stored[0][0]["model_version"].startswith("default (samovar ")
    assert "missing.jpg" in studio.log.read_text(errors="replace") or "missing.jpg" in backend.log.read_text()


def test_new_tasks_are_encoded_before_anybody_opens_them(studio: Studio, backend: Backend, photo: Path) -> None:
    project = studio.project("webhook", config("BrushLabels"), backend)
    wanted = {
        "project": project.number,
        "url": f"{backend.url}/webhook",
        "send_payload": True,
        "actions": ["TASKS_CREATED"],
    }
    studio.ask("POST", "/api/webhooks/", {**wanted, "send_for_all_actions": False})
    flipped = studio.files.parent / "flipped.png"
    _flipped(photo, flipped)
    before = backend.metric("samovar_encode_seconds_count")
    task = project.upload(flipped)
    until = time.monotonic() + 30
    while backend.metric("samovar_encode_seconds_count") < before + 1 and time.monotonic() < until:
        time.sleep(0.1)
    assert backend.metric("samovar_encode_seconds_count") == before + 1
    project.click(task, point(*CUP))
    assert backend.metric("samovar_encode_seconds_count") == before + 1


def test_local_files_and_data_urls_are_read_too(studio: Studio, project: Project, photo: Path, model: Runtime) -> None:
    folder = studio.files / "photos"
    folder.mkdir(exist_ok=True)
    shutil.copy(photo, folder / "a photo.jpg")
    wanted = {"project": project.number, "path": str(folder), "title": "files", "use_blob_urls": True}
    studio.ask("POST", "/api/storages/localfiles", wanted)
    data = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    for picture in ("/data/local-files/?d=photos/a%20photo.jpg", data):
        mask = mask_of(project.click(project.add(picture), point(*CUP)))
        assert mask.same_as(model.segment(photo, Prompt(points=[CUP])))


def test_either_kind_of_token_reads_projects_tasks_and_pictures(
    studio: Studio, project: Project, task: int, photo: Path
) -> None:
    for key in (studio.token, studio.personal_token()):
        client = Client(studio.url, key)
        assert client.project(project.number)["title"] == "clicks"
        first = next(client.tasks(project.number))
        assert first["id"] == task
        assert client.picture(first["data"]["image"]) == photo.read_bytes()


def test_a_project_is_warmed_and_warming_again_encodes_nothing(
    studio: Studio, photo: Path, portrait: Path, tmp_path: Path
) -> None:
    project = studio.project("overnight", config("BrushLabels"))
    for file in (photo, portrait):
        project.upload(file)
    project.add("/data/upload/0/missing.jpg")
    command = [sys.executable, "-m", "samovar", "label-studio", "warm", "--project", str(project.number)]
    command += ["--url", studio.url, "--api-key", studio.token, "--cache", str(tmp_path)]
    for said in ("2 encoded, 0 there already, 1 failed", "0 encoded, 2 there already, 1 failed"):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, said in done.stderr, "missing.jpg" in done.stderr) == (1, True, True), done.stderr


def test_a_detector_says_what_to_segment(studio: Studio, portrait: Path, tmp_path: Path) -> None:
    with backend_process(studio, tmp_path, "--source", "faces", "--map", "face=thing") as faces:
        project = studio.project("faces", config("BrushLabels"), faces)
        task = project.upload(portrait)
        studio.ask(
            "POST",
            f"/api/dm/actions?id=retrieve_tasks_predictions&project={project.number}",
            {"selectedItems": {"all": False, "included": [task]}},
        )
        [prediction] = project.task(task)["predictions"]
        assert {tuple(region["value"]["brushlabels"]) for region in prediction["result"]} == {("thing",)}


def _flipped(photo: Path, target: Path) -> None:
    from PIL import Image as Pillow

    Pillow.fromarray(np.ascontiguousarray(Image(photo).pixels[:, ::-1])).save(target)
