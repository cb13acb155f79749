"""The page for OpenMMLab's users, every block and every row of its table, where its libraries are installed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from samovar import Image
from tests.commands import status_of
from tests.docs.test_code_blocks import Block, blocks, run
from tests.openmmlab.detectors import write_dbnet, write_grounding_dino, write_pose, write_rtmdet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "openmmlab.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("## From the playground")[2]
ROWS = re.findall(r"^\| (\w+) \| [^|]* \| `([^`]+)`[^|]*\|$", TABLE, re.MULTILINE)
PROJECTS = {"mmdet_sam", "mmocr_sam", "mmrotate_sam", "mmpose", "mmtracking", "label_anything"}


@pytest.fixture(scope="module")
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """A folder with everything that the page names, two photographs among them."""
    folder = tmp_path_factory.mktemp("desk")
    write_rtmdet(folder, request.getfixturevalue("coco"))
    write_grounding_dino(folder)
    write_dbnet(folder)
    write_pose(folder)
    portrait = photo.with_name("portrait.jpg")
    for source in (photo, portrait):
        (folder / "photos").mkdir(exist_ok=True)
        shutil.copy(source, folder / "photos")
    for number in range(1, 4):
        (folder / "frames").mkdir(exist_ok=True)
        shutil.copy(photo, folder / "frames" / f"{number:06}.jpg")
    shutil.copy(photo, folder)
    (folder / "tracks.txt").write_text("1,7,75,68,409,324,0.9,-1,-1,-1\n")
    size = {name: Image(folder / "photos" / name) for name in ("photo.jpg", "portrait.jpg")}
    images = [
        {"id": number, "file_name": name, "width": image.width, "height": image.height}
        for number, (name, image) in enumerate(size.items(), 1)
    ]
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [75, 68, 409, 324], "area": 9, "iscrowd": 0}
    categories = [{"id": 1, "name": "saucer"}]
    boxes = {"images": images, "annotations": [annotation], "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(boxes))
    drawn = {"x": 12.5, "y": 17.0, "width": 68.2, "height": 81.0, "rotation": 0, "rectanglelabels": ["saucer"]}
    sizes = {"original_width": 600, "original_height": 400}
    region = {"type": "rectanglelabels", "from_name": "label", "to_name": "image", "value": drawn, **sizes}
    task = {"id": 1, "data": {"image": "/data/upload/1/photo.jpg"}, "annotations": [{"result": [region]}]}
    (folder / "export.json").write_text(json.dumps([task]))
    return folder


def command(line: str) -> None:
    """Run a `samovar …` line here, where this old MMDetection imports."""
    name, *arguments = shlex.split(line)
    assert name == "samovar"
    assert status_of(*arguments) == 0, line


@pytest.fixture(scope="module")
def page(desk: Path) -> Path:
    """That folder, once every block of the page has run in it."""
    names: dict[str, object] = {"__name__": "__page__"}
    left_to_us: list[Block] = [block for block in blocks(PAGE) if block.not_run]
    assert len(left_to_us) >= 8
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        for block in left_to_us:
            if block.language == "sh":
                for line in block.code.strip().splitlines():
                    command(line)
            else:
                run(block, names)
    return desk


def test_the_page_gives_what_it_says(page: Path) -> None:
    assert (page / "drawn" / "vis" / "photo.jpg").is_file()
    assert json.loads((page / "tracked.json").read_text())["annotations"][0]["source_id"] == 7
    assert (page / "labels" / "photo.jpg.txt").read_text().endswith("saucer 0\n")
    assert {path.name for path in (page / "poses").iterdir()} == {"photo.json", "portrait.json"}
    assert len(json.loads((page / "people.json").read_text())["annotations"]) == 2
    assert (page / "tracked.txt").read_text().count("\n") >= 2, "what two frames in a row show is followed"


def test_every_project_of_the_playground_has_a_row() -> None:
    assert {project for project, _ in ROWS} == PROJECTS


@pytest.mark.parametrize(("project", "here"), ROWS, ids=[f"{number} {row[0]}" for number, row in enumerate(ROWS)])
def test_every_row_of_the_playground_runs(project: str, here: str, page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(page)
    if here.startswith("from "):
        exec(here, {})
    else:
        command(here)
