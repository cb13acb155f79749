"""The page for OpenMMLab's users, every block and every row of its table, where its libraries are installed."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from samovar import Image
from samovar.cli.main import cli
from tests.docs.test_code_blocks import Block, blocks, run
from tests.openmmlab.detectors import write_dbnet, write_grounding_dino, write_rtmdet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "openmmlab.md"
TABLE = PAGE.read_text(encoding="utf-8").partition("## From the playground")[2]
ROWS = re.findall(r"^\| (\w+) \| [^|]* \| `([^`]+)` \|$", TABLE, re.MULTILINE)
PROJECTS = {"mmdet_sam", "mmocr_sam", "mmrotate_sam", "mmpose", "mmtracking", "label_anything"}


@pytest.fixture(scope="module")
def desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photo: Path) -> Path:
    """A folder with everything that the page names, two photographs among them."""
    folder = tmp_path_factory.mktemp("desk")
    write_rtmdet(folder, request.getfixturevalue("coco"))
    write_grounding_dino(folder)
    write_dbnet(folder)
    portrait = photo.with_name("portrait.jpg")
    for name, source in (("photos", photo), ("photos", portrait), ("frames", photo)):
        (folder / name).mkdir(exist_ok=True)
        shutil.copy(source, folder / name / ("000001.jpg" if name == "frames" else source.name))
    shutil.copy(photo, folder)
    (folder / "poses").mkdir()
    people = [{"keypoints": [[150, 120], [170, 200]], "keypoint_scores": [0.9, 0.9], "bbox": [[75, 68, 484, 392]]}]
    (folder / "poses" / "photo.json").write_text(json.dumps(people))
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
    return folder


def command(line: str) -> None:
    """Run a `samovar …` line here, where this old MMDetection imports."""
    name, *arguments = shlex.split(line)
    assert name == "samovar"
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, f"{line}\n{result.output}"


def test_the_page_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    names: dict[str, object] = {"__name__": "__page__"}
    left_to_us: list[Block] = [block for block in blocks(PAGE) if block.not_run]
    assert len(left_to_us) >= 8
    for block in left_to_us:
        if block.language == "sh":
            for line in block.code.strip().splitlines():
                command(line)
        else:
            run(block, names)
    drawn = desk / "drawn" / "vis" / "photo.jpg"
    assert drawn.is_file()
    assert json.loads((desk / "tracked.json").read_text())["annotations"][0]["source_id"] == 7
    assert (desk / "labels" / "photo.jpg.txt").read_text().endswith("saucer 0\n")


def test_every_project_of_the_playground_has_a_row() -> None:
    assert {project for project, _ in ROWS} == PROJECTS


@pytest.mark.parametrize(("project", "here"), ROWS, ids=[f"{number} {row[0]}" for number, row in enumerate(ROWS)])
def test_every_row_of_the_playground_runs(project: str, here: str, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(desk)
    if here.startswith("from "):
        exec(here, {})
    else:
        command(here)
