"""A person in front of a browser, or with a phone in hand, on the server's own page."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from playwright.sync_api import Browser, CDPSession, Locator, Page, expect

from samovar import Masks, Prompt, Runtime
from tests.label_studio.studio import free_port, running, wait_for

# In a fresh environment the first click compiles the model's kernels, on a busy machine for long.
PATIENCE = 180_000
expect.set_options(timeout=PATIENCE)


def iou(first: Masks, second: Masks) -> float:
    return float(first.iou(second)[0, 0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    with running([sys.executable, "-m", "samovar", "serve", "--port", str(port)], log, {}) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process, log, 60)
        yield url


def test_the_page_follows_clicks_boxes_keys_and_gives_the_mask_away(
    browser: Browser, server: str, photo: Path, model: Runtime, screenshots: Path
) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(server)
    page.screenshot(path=screenshots / "page-empty.png")
    status = page.locator("#status")
    page.set_input_files("#file", {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    expect(status).to_contain_text("expected an image")
    expect(page.locator("#pick")).to_be_visible()
    assert [problem for problem in problems if "400" not in problem] == []  # the browser notes every refusal
    problems.clear()
    page.set_input_files("#file", photo)
    expect(status).to_contain_text("Click the object")
    stage = page.locator("#stage")
    frame = stage.bounding_box()
    assert frame is not None
    scale = frame["width"] / 600

    def at(x: float, y: float) -> Any:
        return {"x": x * scale, "y": y * scale}

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    def settled() -> Masks:
        expect(stage).to_have_attribute("aria-busy", "false")
        expect(status).to_contain_text("pixels")
        with page.expect_download() as saved:
            page.click("#png")
        data = Path(saved.value.path()).read_bytes()
        return Masks.from_array((np.asarray(Pillow.open(io.BytesIO(data)).convert("L")) > 127)[None])

    stage.click(position=at(310, 120))
    one = settled()
    assert iou(one, model.segment(photo, Prompt(points=[(310, 120)]))) > 0.98
    stage.click(position=at(363, 285), button="right")
    two = settled()
    assert iou(two, model.segment(photo, Prompt(points=[(310, 120), (363, 285)], point_labels=[1, 0]))) > 0.98
    page.screenshot(path=screenshots / "page-clicks.png")
    press("z")
    assert settled().equals(one)
    press("Escape")
    expect(status).to_contain_text("Click the object")

    page.mouse.move(frame["x"] + 160 * scale, frame["y"] + 5 * scale)
    page.mouse.down()
    page.mouse.move(frame["x"] + 300 * scale, frame["y"] + 100 * scale)
    page.mouse.move(frame["x"] + 420 * scale, frame["y"] + 215 * scale)
    page.mouse.up()
    assert iou(settled(), model.segment(photo, Prompt(box=(160, 5, 420, 215)))) > 0.95
    with page.expect_download() as coco:
        page.click("#coco")
    annotation = json.loads(Path(coco.value.path()).read_text())["annotations"][0]
    assert Masks.from_coco_rle([annotation["segmentation"]]).areas[0] == annotation["area"]
    with page.expect_download() as svg:
        page.click("#svg")
    assert 'viewBox="0 0 600 400"' in Path(svg.value.path()).read_text()

    # Everything again without a mouse.
    press("Escape")
    stage.focus()
    press("ArrowUp", "ArrowUp", "ArrowUp", "ArrowRight", "Enter")
    assert settled().areas[0] > 0
    stage.focus()
    press("ArrowDown", "ArrowDown", " ", "z", "z")
    expect(status).to_contain_text("Click the object")
    press("b", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "b")
    assert settled().areas[0] > 0
    page.close()
    assert problems == []


@pytest.fixture
def opened(browser: Browser, server: str, photo: Path) -> Iterator[Page]:
    """The page with the photo open."""
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    yield from _opened(page, server, photo)


def _opened(page: Page, server: str, photo: Path) -> Iterator[Page]:
    page.set_default_timeout(PATIENCE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(server)
    page.set_input_files("#file", photo)
    expect(page.locator("#status")).to_contain_text("Click the object")
    yield page
    page.close()
    assert problems == []


def _drag(page: Page, box: tuple[float, float, float, float]) -> None:
    """A box in pixels of the 600×400 photo."""
    frame = _frame(page.locator("#stage"))
    scale = frame["width"] / 600
    page.mouse.move(frame["x"] + box[0] * scale, frame["y"] + box[1] * scale)
    page.mouse.down()
    page.mouse.move(frame["x"] + box[2] * scale, frame["y"] + box[3] * scale, steps=3)
    page.mouse.up()


def _frame(stage: Locator) -> Any:
    frame = stage.bounding_box()
    assert frame is not None
    return frame


def _prompt(page: Page, act: Any) -> dict[str, Any]:
    """The prompt that `act` makes the page send."""
    with page.expect_request("**/v1/segment") as sent:
        act()
    [prompt] = json.loads(sent.value.post_data or "")["prompts"]
    expect(page.locator("#stage")).to_have_attribute("aria-busy", "false")
    assert isinstance(prompt, dict)
    return prompt


def test_undo_brings_back_the_box_that_another_took_the_place_of(opened: Page) -> None:
    first = _prompt(opened, lambda: _drag(opened, (75, 68, 484, 392)))
    second = _prompt(opened, lambda: _drag(opened, (160, 5, 420, 215)))
    assert second["box"] == pytest.approx([160, 5, 420, 215], abs=1.5)
    assert _prompt(opened, lambda: opened.keyboard.press("z")) == first
    opened.keyboard.press("z")
    expect(opened.locator("#status")).to_contain_text("Click the object")


def test_the_wheel_zooms_around_the_pointer_and_clicks_still_mean_what_they_hit(
    opened: Page, screenshots: Path
) -> None:
    stage = opened.locator("#stage")
    fitted = _frame(stage)
    scale = fitted["width"] / 600
    at = fitted["x"] + 310 * scale, fitted["y"] + 120 * scale
    opened.mouse.move(*at)
    for _ in range(6):
        opened.mouse.wheel(0, -300)
    opened.wait_for_function("document.querySelector('#stage').clientWidth > 2000")
    prompt = _prompt(opened, lambda: opened.mouse.click(*at))
    assert prompt["points"] == [pytest.approx([310, 120], abs=1)]
    opened.screenshot(path=screenshots / "page-zoomed.png")
    near = _frame(stage)
    opened.mouse.down(button="middle")
    opened.mouse.move(at[0] + 60, at[1] + 30, steps=3)
    opened.mouse.up(button="middle")
    moved = _frame(stage)
    assert (moved["x"] - near["x"], moved["y"] - near["y"]) == pytest.approx((60, 30), abs=1)
    opened.keyboard.press("0")
    opened.wait_for_function("document.querySelector('#stage').style.transform === 'translate(0px, 0px)'")
    assert _frame(stage) == pytest.approx(fitted, abs=1)


def test_background_can_be_marked_without_a_second_button(opened: Page) -> None:
    stage = opened.locator("#stage")
    scale = _frame(stage)["width"] / 600
    _prompt(opened, lambda: stage.click(position={"x": 310 * scale, "y": 120 * scale}))
    opened.check("#background")
    prompt = _prompt(opened, lambda: stage.click(position={"x": 363 * scale, "y": 285 * scale}))
    assert prompt["point_labels"] == [1, 0]
    opened.keyboard.press("x")
    expect(opened.locator("#object")).to_be_checked()


@pytest.fixture
def phone(browser: Browser, server: str, photo: Path) -> Iterator[Page]:
    """The page on a touch screen, with the photo open."""
    context = browser.new_context(viewport={"width": 390, "height": 780}, has_touch=True, is_mobile=True)
    yield from _opened(context.new_page(), server, photo)
    context.close()


def _touch(session: CDPSession, kind: str, *fingers: tuple[float, float]) -> None:
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


def test_a_finger_taps_the_object_rests_on_the_background_and_two_of_them_zoom(phone: Page, screenshots: Path) -> None:
    session = phone.context.new_cdp_session(phone)
    stage = phone.locator("#stage")
    frame = _frame(stage)
    scale = frame["width"] / 600

    def at(x: float, y: float) -> tuple[float, float]:
        return frame["x"] + x * scale, frame["y"] + y * scale

    assert _prompt(phone, lambda: phone.touchscreen.tap(*at(310, 120)))["point_labels"] == [1]
    prompt = _prompt(phone, lambda: _touch(session, "touchStart", at(363, 285)))  # it rests: nothing else happens
    _touch(session, "touchEnd")
    assert prompt["point_labels"] == [1, 0]
    phone.screenshot(path=screenshots / "page-phone.png")
    _touch(session, "touchStart", at(280, 200), at(320, 200))
    for wider in (40, 70, 100):
        _touch(session, "touchMove", at(300 - wider, 200), at(300 + wider, 200))
    _touch(session, "touchEnd")
    phone.wait_for_function(f"document.querySelector('#stage').clientWidth > {frame['width'] * 3}")
    assert _prompt(phone, lambda: phone.keyboard.press("z"))["point_labels"] == [1]  # nothing was marked meanwhile


def test_the_mask_is_seen_on_what_has_its_colour(browser: Browser, server: str, tmp_path: Path) -> None:
    fills = []
    for colour in ((255, 122, 40), (0, 190, 255)):
        sheet = np.full((200, 300, 3), 255, np.uint8)
        sheet[60:140, 100:200] = colour
        Pillow.fromarray(sheet).save(tmp_path / "sheet.png")
        for page in _opened(browser.new_page(), server, tmp_path / "sheet.png"):
            stage = page.locator("#stage")
            scale = _frame(stage)["width"] / 300
            _prompt(page, lambda: stage.click(position={"x": 150 * scale, "y": 100 * scale}))  # noqa: B023
            fills.append(page.evaluate("getComputedStyle(document.querySelector('#mask')).fill"))
            shown = [int(value) for value in fills[-1].partition("(")[2].split(",")[:3]]
            assert np.abs(np.subtract(shown, colour)).max() > 100
    assert len(fills) == 2
