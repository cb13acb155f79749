"""A person in front of a browser clicks in Label Studio."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from samovar import Masks, Prompt, Runtime
from samovar_adapters.label_studio.regions import decode_bitmask, decode_brush
from tests.label_studio.studio import EMAIL, PASSWORD, Backend, Studio, config

# In a fresh environment the first click compiles the model's kernels, on a busy machine for long.
PATIENCE = 180_000
expect.set_options(timeout=PATIENCE)


def iou(first: Masks, second: Masks) -> float:
    return float(first.iou(second)[0, 0])


def test_a_smart_click_in_label_studio_becomes_a_stored_brush_mask(
    browser: Browser, studio: Studio, backend: Backend, photo: Path, screenshots: Path, tmp_path: Path
) -> None:
    project = studio.project("a person", config("BrushLabels"), backend)
    task = project.upload(photo)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    _log_in(page, studio)
    page.goto(f"{studio.url}/projects/{project.number}/data?task={task}")
    canvas = page.locator(".konvajs-content").first
    canvas.wait_for()
    page.get_by_text("Auto-Annotation").click()
    page.locator(".lsf-tool_smart").first.hover()
    page.locator('.lsf-tool_smart[aria-label="key-point-tool"]').click()
    page.get_by_text("thing").nth(1).click()
    frame = canvas.bounding_box()
    assert frame is not None
    with page.expect_response("**/interactive-annotating*") as answered:
        page.mouse.click(frame["x"] + frame["width"] * 0.5, frame["y"] + frame["height"] * 0.3)
    asked = json.loads(answered.value.request.post_data or "")["context"]["result"][0]["value"]
    expect(page.get_by_text("1 suggestions")).to_be_visible()
    page.screenshot(path=screenshots / "label-studio-suggestion.png")
    page.locator("button:right-of(:text('1 suggestions'))").nth(1).click()
    expect(page.get_by_text("1 suggestions")).not_to_be_visible()
    page.screenshot(path=screenshots / "label-studio-accepted.png")
    with page.expect_response(lambda response: "/annotations" in response.url and response.request.method == "POST"):
        page.get_by_role("button", name="Submit").click()
    page.close()

    [annotation] = project.task(task)["annotations"]
    regions = [region for region in annotation["result"] if region["type"] == "brushlabels"]
    assert [region["value"]["brushlabels"] for region in regions] == [["thing"]]
    stored = decode_brush(regions[0]["value"]["rle"], 600, 400)
    point = f"{asked['x'] * 6},{asked['y'] * 4}"
    command = [sys.executable, "-m", "samovar", "segment", str(photo), "--point", point, "--json", "--quiet"]
    line = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert iou(stored, Masks.from_coco_rle([line["masks"][0]["segmentation"]])) > 0.9


THINGS = '<Label value="thing"/><Label value="other"/>'
BITMASK = f"""<View><Image name="image" value="$image"/>
<BitmaskLabels name="bits" toName="image">{THINGS}</BitmaskLabels>
<KeyPointLabels name="point" toName="image" smart="true">{THINGS}</KeyPointLabels></View>"""
LABELS = f"""<View><Image name="image" value="$image"/><Labels name="label" toName="image">{THINGS}</Labels>
<Brush name="mask" toName="image"/><KeyPoint name="point" toName="image" smart="true"/></View>"""


@pytest.mark.parametrize(("labelling", "label"), [(BITMASK, 1), (LABELS, 0)], ids=["bitmask", "labels"])
def test_a_smart_click_is_stored_as_the_configuration_draws(
    browser: Browser, studio: Studio, backend: Backend, photo: Path, screenshots: Path, labelling: str, label: int
) -> None:
    project = studio.project("as it draws", labelling, backend)
    task = project.upload(photo)
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    _log_in(page, studio)
    page.goto(f"{studio.url}/projects/{project.number}/data?task={task}")
    canvas = page.locator(".konvajs-content").first
    canvas.wait_for()
    page.get_by_text("Auto-Annotation").click()
    page.locator(".lsf-tool_smart").first.hover()
    page.locator('.lsf-tool_smart[aria-label="key-point-tool"]').click()
    page.get_by_text("thing").nth(label).click()
    frame = canvas.bounding_box()
    assert frame is not None
    with page.expect_response("**/interactive-annotating*") as answered:
        page.mouse.click(frame["x"] + frame["width"] * 0.5, frame["y"] + frame["height"] * 0.3)
    sent = answered.value.json()["data"]["result"]
    expect(page.get_by_text("1 suggestions")).to_be_visible()
    page.locator("button:right-of(:text('1 suggestions'))").nth(1).click()
    expect(page.get_by_text("1 suggestions")).not_to_be_visible()
    page.screenshot(path=screenshots / f"label-studio-{sent[0]['type']}.png")
    with page.expect_response(lambda response: "/annotations" in response.url and response.request.method == "POST"):
        page.get_by_role("button", name="Submit").click()
    page.close()
    [annotation] = project.task(task)["annotations"]
    stored = {one["type"]: one["value"] for one in annotation["result"]}
    assert set(stored) == {one["type"] for one in sent}
    if labelling == LABELS:
        assert stored["labels"]["labels"] == ["thing"]
        mask, answer = (decode_brush(one["rle"], 600, 400) for one in (stored["brush"], sent[0]["value"]))
    else:
        assert stored["bitmasklabels"]["bitmasklabels"] == ["thing"]
        urls = (one["imageDataURL"] for one in (stored["bitmasklabels"], sent[0]["value"]))
        mask, answer = (decode_bitmask(url, 600, 400) for url in urls)
    assert answer.areas[0] > 1000
    assert iou(mask, answer) > 0.99


def test_a_smart_click_on_a_turned_picture_means_what_is_under_the_pointer(
    browser: Browser, studio: Studio, backend: Backend, photo: Path, model: Runtime, screenshots: Path
) -> None:
    turning = config("BrushLabels").replace("<Image ", '<Image rotateControl="true" ')
    project = studio.project("turned", turning, backend)
    task = project.upload(photo)
    page = browser.new_page(viewport={"width": 1400, "height": 1300})
    page.set_default_timeout(PATIENCE)
    _log_in(page, studio)
    page.goto(f"{studio.url}/projects/{project.number}/data?task={task}")
    canvas = page.locator(".konvajs-content").first
    canvas.wait_for()
    page.get_by_text("Auto-Annotation").click()
    page.locator('[aria-label="rotate-right"]').click()
    page.locator(".lsf-tool_smart").first.hover()
    page.locator('.lsf-tool_smart[aria-label="key-point-tool"]').click()
    page.get_by_text("thing").nth(1).click()
    frame = canvas.bounding_box()
    assert frame is not None
    with page.expect_response("**/interactive-annotating*") as answered:
        page.mouse.click(frame["x"] + 290, frame["y"] + 360)
    [asked] = json.loads(answered.value.request.post_data or "")["context"]["result"]
    expect(page.get_by_text("1 suggestions")).to_be_visible()
    page.screenshot(path=screenshots / "label-studio-turned.png")
    [region] = answered.value.json()["data"]["result"]
    page.close()
    assert (asked["image_rotation"], region["image_rotation"]) == (90, 90)
    # Turned to the right, the pointer's way across is the picture's way up; what is sent is already turned back.
    at = asked["value"]["x"] * 6, asked["value"]["y"] * 4
    assert 200 < at[0] < 330
    assert 100 < at[1] < 250
    mask = decode_brush(region["value"]["rle"], 600, 400)
    assert iou(mask, model.segment(photo, Prompt(points=[at]))) > 0.99


VIDEO = """<View><Labels name="what" toName="video" allowEmpty="true"><Label value="Cup"/><Label value="Bowl"/></Labels>
<Video name="video" value="$video" framerate="24"/><VideoRectangle name="box" toName="video" smart="true"/></View>"""


def test_a_box_drawn_in_a_video_is_followed_once_it_is_named(
    browser: Browser, studio: Studio, backend: Backend, repository: Path, screenshots: Path
) -> None:
    project = studio.project("a video", VIDEO, backend)
    task = project.upload(repository / "docs" / "assets" / "clip.mp4")
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.set_default_timeout(PATIENCE)
    _log_in(page, studio)
    page.goto(f"{studio.url}/projects/{project.number}/data?task={task}")
    page.wait_for_function("document.querySelector('video')?.readyState === 4")
    expect(page.get_by_text("of 48")).to_be_visible()
    page.get_by_text("Auto-Annotation").click()
    page.get_by_text("Cup").first.click()
    frame = page.locator(".konvajs-content").first.bounding_box()
    assert frame is not None
    left, top = frame["x"] + (frame["width"] - 360) / 2, frame["y"] + (frame["height"] - 240) / 2
    page.mouse.move(left + 104, top + 4)
    page.mouse.down()
    page.mouse.move(left + 200, top + 100)
    page.mouse.move(left + 272, top + 198)
    page.mouse.up()
    page.locator(".lsf-outliner-item").first.click()
    # The editor asks when the label of a selected region is chosen.
    with page.expect_response("**/interactive-annotating*") as answered:
        page.get_by_text("Bowl").first.click()
    [region] = answered.value.json()["data"]["result"]
    expect(page.locator(".lsf-outliner-item").first).to_contain_text(f"{region['score']:.2f}")
    page.screenshot(path=screenshots / "label-studio-video.png")
    with page.expect_response(lambda response: "/annotations" in response.url and response.request.method == "POST"):
        page.get_by_role("button", name="Submit").click()
    page.close()
    [annotation] = project.task(task)["annotations"]
    [stored] = annotation["result"]
    assert (stored["type"], stored["value"]["labels"]) == ("videorectangle", ["Bowl"])
    sequence = stored["value"]["sequence"]
    assert [one["frame"] for one in sequence] == [one["frame"] for one in region["value"]["sequence"]]
    assert sequence[0]["frame"] == 1
    assert sequence[-1]["frame"] > 1  # all 48, but on a machine so slow that the time for one request ends before


def _log_in(page: Page, studio: Studio) -> None:
    page.goto(f"{studio.url}/user/login/")
    page.fill("input[name=email]", EMAIL)
    page.fill("input[name=password]", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_load_state("networkidle")
