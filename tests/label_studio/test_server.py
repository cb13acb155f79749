"""What a real Label Studio asks, gets, and stores."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samovar import Image, Masks, Prompt, Runtime
from samovar_adapters.label_studio.client import Client
from samovar_adapters.label_studio.exports import LabelStudioSink, LabelStudioSource, annotation_of, regions_of
from samovar_adapters.label_studio.regions import ImageSize, decode_brush, encode_brush
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
    return decode_brush(region["value"]["rle"], WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def project(studio: Studio, backend: Backend) -> Project:
    return studio.project("clicks", config("BrushLabels"), backend)


@pytest.fixture(scope="module")
def task(project: Project, photo: Path) -> int:
    return project.upload(photo)


@pytest.fixture(scope="module")
def personal(studio: Studio) -> str:
    """A personal access token; a user has one at a time."""
    return studio.personal_token()


def test_a_click_gives_the_mask_that_samovar_gives(project: Project, task: int, model: Runtime, photo: Path) -> None:
    prediction = project.click(task, point(*CUP))
    assert mask_of(prediction).equals(model.segment(photo, Prompt(points=[CUP])))
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
    assert mask.equals(wanted)
    assert not mask.to_array()[0, int(SPOON[1]), int(SPOON[0])]


def test_an_answer_is_refined_by_a_click(project: Project, task: int, model: Runtime, photo: Path) -> None:
    first = project.click(task, point(*CUP))
    refined = mask_of(project.click(task, *first["result"], point(*SPOON)))
    assert refined.equals(model.segment(photo, Prompt(mask=mask_of(first), points=[SPOON])))


@pytest.mark.parametrize("kind", ["BrushLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels", "KeyPointLabels"])
def test_every_kind_of_region_is_drawn_as_the_configuration_asks(
    kind: str, studio: Studio, backend: Backend, model: Runtime, photo: Path, tmp_path: Path
) -> None:
    project = studio.project(f"draws {kind}", config(kind), backend)
    task = project.upload(photo)
    prediction = project.click(task, point(*CUP))
    stored = project.annotate(task, prediction["result"])
    assert [region["value"] for region in stored] == [region["value"] for region in prediction["result"]]
    read = LabelStudioSource(str(project.export(tmp_path / "export.json")), "drawn").prompts([Image(photo)])[0]
    assert [prompt.label for prompt in read] == ["thing"] * len(stored)
    assert {region["from_name"] for region in prediction["result"]} == {kind.lower()}
    mask = model.segment(photo, Prompt(points=[CUP]))
    assert mask.iou(_drawn_again(kind, prediction["result"]))[0, 0] > {
        "RectangleLabels": 0.6,
        "EllipseLabels": 0.7,
    }.get(kind, 0.95 if kind != "KeyPointLabels" else -1)
    if kind == "KeyPointLabels":
        x, y = ImageSize(WIDTH, HEIGHT).point(prediction["result"][0]["value"])
        assert mask.to_array()[0, int(y), int(x)]


def _drawn_again(kind: str, result: list[dict[str, Any]]) -> Masks:
    frame = ImageSize(WIDTH, HEIGHT)
    values = [region["value"] for region in result]
    if kind == "BrushLabels":
        return decode_brush(values[0]["rle"], WIDTH, HEIGHT)
    if kind == "KeyPointLabels":
        return Masks.from_array(np.zeros((1, HEIGHT, WIDTH), bool))
    draw = {"PolygonLabels": frame.polygon, "RectangleLabels": frame.rectangle, "EllipseLabels": frame.ellipse}[kind]
    return Masks.from_polygons([[draw(value).astype(np.float32) for value in values]], WIDTH, HEIGHT)


def test_a_mask_is_the_same_after_it_was_stored_and_exported(
    studio: Studio, backend: Backend, model: Runtime, photo: Path, tmp_path: Path
) -> None:
    project = studio.project("there and back", config("BrushLabels"), backend)
    task = project.upload(photo)
    project.annotate(task, project.click(task, point(*CUP))["result"])
    source = LabelStudioSource(str(project.export(tmp_path / "export.json")), "masks")
    [prompt] = source.prompts([Image(photo)])[0]
    assert isinstance(prompt.mask, Masks)
    assert prompt.mask.equals(model.segment(photo, Prompt(points=[CUP])))


def test_what_the_sink_writes_is_imported_and_exported_unchanged(
    studio: Studio, model: Runtime, photo: Path, tmp_path: Path
) -> None:
    masks = model.segment(photo, [Prompt(points=[CUP], label="thing"), Prompt(points=[SPOON], label="other")])
    [task] = json.loads(LabelStudioSink(tmp_path).encode("photo.jpg", Image(photo), masks))
    project = studio.project("imported", config("BrushLabels").replace("brushlabels", "brush"))
    data = f"data:image/jpeg;base64,{base64.b64encode(photo.read_bytes()).decode()}"
    studio.ask("POST", f"/api/projects/{project.number}/import", [{**task, "data": {"image": data}}])
    [number] = project.tasks()
    [prediction] = project.task(number)["predictions"]
    assert prediction["result"] == task["predictions"][0]["result"]
    project.annotate(number, prediction["result"])
    [exported] = json.loads(project.export(tmp_path / "export.json").read_text())
    read = [annotation_of("here", region, WIDTH, HEIGHT) for region in regions_of(exported)]
    assert [one and one.label for one in read] == ["thing", "other"]
    assert Masks.concat([one.mask(WIDTH, HEIGHT) for one in read if one]).equals(masks)


POLYGON = [[40, 10], [65, 12], [60, 50], [42, 48]]


@pytest.mark.parametrize("kind", ["polygon", "brush", "ellipse", "turned rectangle"])
def test_every_kind_of_region_asks_for_its_object(
    kind: str, project: Project, task: int, model: Runtime, photo: Path
) -> None:
    frame = ImageSize(WIDTH, HEIGHT)
    outline = np.array(POLYGON) * (WIDTH / 100, HEIGHT / 100)
    area = Masks.from_polygons([[outline.astype(np.float32)]], WIDTH, HEIGHT)
    given: dict[str, Any] = {
        "polygon": drawn("x", "polygonlabels", {"points": POLYGON, "polygonlabels": ["thing"]}),
        "brush": drawn("x", "brushlabels", {"format": "rle", "rle": encode_brush(area), "brushlabels": ["thing"]}),
        "ellipse": drawn(
            "x",
            "ellipselabels",
            {"x": 50, "y": 28, "radiusX": 18, "radiusY": 26, "rotation": 0, "ellipselabels": ["thing"]},
        ),
        "turned rectangle": drawn(
            "x",
            "rectanglelabels",
            {"x": 30, "y": 10, "width": 35, "height": 40, "rotation": 12, "rectanglelabels": ["thing"]},
        ),
    }[kind]
    if kind in ("polygon", "brush"):
        prompt = Prompt(mask=area)
    else:
        ring = frame.ellipse(given["value"]) if kind == "ellipse" else frame.rectangle(given["value"])
        box = (*ring.min(axis=0).tolist(), *ring.max(axis=0).tolist())
        middle = None if kind == "ellipse" else [ring.mean(axis=0)]
        prompt = Prompt(box=box, points=middle)
    mask = mask_of(project.click(task, given))
    assert mask.iou(model.segment(photo, prompt))[0, 0] > 0.99


def test_the_tasks_after_the_one_that_is_worked_on_are_encoded_meanwhile(
    studio: Studio, photo: Path, tmp_path: Path
) -> None:
    from PIL import Image as Pillow

    with backend_process(studio, tmp_path, "--cache", str(tmp_path / "cache")) as backend:
        project = studio.project("a queue", config("BrushLabels"), backend)
        tasks = []
        for number in range(3):
            file = tmp_path / f"{number}.png"
            Pillow.fromarray(np.roll(Image(photo).pixels, 20 * number + 7, axis=1)).save(file)
            tasks.append(project.upload(file))
        assert backend.metric("samovar_encode_seconds_count") == 0
        project.click(tasks[0], point(*CUP))
        _wait_for_encodes(backend, 3)
        project.click(tasks[2], point(*CUP))
        assert backend.metric("samovar_encode_seconds_count") == 3


def _wait_for_encodes(backend: Backend, count: float) -> None:
    until = time.monotonic() + 120
    while backend.metric("samovar_encode_seconds_count") < count and time.monotonic() < until:
        time.sleep(0.1)
    assert backend.metric("samovar_encode_seconds_count") == count


def test_a_click_on_a_page_is_answered_and_stored_on_that_page(
    studio: Studio, backend: Backend, photo: Path, portrait: Path, model: Runtime
) -> None:
    labelling = config("BrushLabels").replace('value="$image"', 'valueList="$pages"')
    project = studio.project("pages", labelling, backend)
    uploads = [project.task(project.upload(file))["data"] for file in (portrait, photo)]
    pages = [address for data in uploads for address in data.values()]
    task = project.add(pages, "pages")
    first = {**point(10, 10), "item_index": 0}
    prediction = project.click(task, first, {**point(*CUP), "item_index": 1})
    assert mask_of(prediction).equals(model.segment(photo, Prompt(points=[CUP])))
    assert [one["item_index"] for one in project.annotate(task, prediction["result"])] == [1]


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
    # Nobody adds a webhook: Label Studio tells the backends of a project by itself.
    flipped = studio.files.parent / "flipped.png"
    _flipped(photo, flipped)
    before = backend.metric("samovar_encode_seconds_count")
    task = project.upload(flipped)
    _wait_for_encodes(backend, before + 1)
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
        assert mask.equals(model.segment(photo, Prompt(points=[CUP])))


def test_either_kind_of_token_reads_projects_tasks_and_pictures(
    studio: Studio, project: Project, task: int, photo: Path, personal: str
) -> None:
    for key in (studio.token, personal):
        client = Client(studio.url, key)
        assert client.project(project.number)["title"] == "clicks"
        first = next(client.tasks(project.number))
        assert first["id"] == task
        assert client.image(first["data"]["image"]) == photo.read_bytes()


def test_an_access_token_that_the_server_does_not_take_any_more_is_replaced(
    studio: Studio, project: Project, task: int, photo: Path, personal: str
) -> None:
    client = Client(studio.url, personal)
    address = project.task(task)["data"]["image"]
    assert client.image(address) == photo.read_bytes()
    head, body, signature = str(client._token._access).split(".")
    client._token._access = f"{head}.{body}.{signature[::-1]}"
    assert client.image(address) == photo.read_bytes()
    assert client.project(project.number)["title"] == "clicks"


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
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
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
