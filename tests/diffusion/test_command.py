"""`samovar inpaint` with a saved pipeline, on the photo that ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image as Pillow

from samovar import Masks
from samovar.cli.main import cli
from samovar.errors import InputError
from samovar_adapters.inpaint import Region
from tests.diffusion.tiny import safety_checker, sd15

SPOON = ["--box", "325,215,408,327"]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("command")
    sd15(root / "tokenizer").save_pretrained(root / "saved")
    return root / "saved"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["inpaint", *map(str, arguments)], standalone_mode=False)


def read(path: Path) -> np.ndarray:
    return np.asarray(Pillow.open(path))


def test_fill_paints_the_object_and_nothing_else(photo: Path, pipeline: Path, tmp_path: Path) -> None:
    words = ["--prompt", "a biscuit", "--negative-prompt", "a spoon", "--steps", 1, "--device", "cpu"]
    pictures = []
    for name in ("first.png", "again.png"):
        done = run("fill", photo, *SPOON, "--pipeline", pipeline, *words, "--json", "--out", tmp_path / name)
        assert done.return_value == 0, done.output
        pictures.append(read(tmp_path / name))
    mask = Masks.from_coco_rle([json.loads(done.stdout)["masks"][0]["segmentation"]])
    alpha = Region.around(mask, 6, 2).inside((0, 0, mask.width, mask.height))
    before = read(photo)
    assert np.array_equal(pictures[0], pictures[1])  # the seed is fixed unless one is given
    assert np.array_equal(pictures[0][alpha == 0], before[alpha == 0])
    assert (pictures[0][alpha > 0.9] != before[alpha > 0.9]).any(axis=1).mean() > 0.95


def test_a_background_by_a_pipeline_leaves_the_object(photo: Path, pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done = run(
        "replace-background",
        photo,
        *SPOON,
        "--feather",
        0,
        "--pipeline",
        pipeline,
        "--steps",
        1,
        "--json",
        "--out",
        out,
    )
    assert done.return_value == 0, done.output
    mask = Masks.from_coco_rle([json.loads(done.stdout)["masks"][0]["segmentation"]]).to_array()[0]
    assert np.array_equal(read(out)[mask], read(photo)[mask])
    assert (read(out)[~mask] != read(photo)[~mask]).any(axis=1).mean() > 0.95


def test_a_refused_picture_is_named_and_not_written(photo: Path, pipeline: Path, tmp_path: Path) -> None:
    strict = tmp_path / "strict"
    whole = sd15(tmp_path / "tokenizer")
    whole.safety_checker, whole.feature_extractor = safety_checker()
    whole.register_to_config(requires_safety_checker=True)
    whole.register_modules(safety_checker=whole.safety_checker, feature_extractor=whole.feature_extractor)
    whole.save_pretrained(strict)
    done = run("remove", photo, *SPOON, "--pipeline", strict, "--steps", 1, "--out", tmp_path / "out.png")
    assert done.return_value == 1
    assert "safety checker" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_what_the_pipeline_does_not_take_is_named(photo: Path, tmp_path: Path) -> None:
    from tests.diffusion.tiny import kandinsky22

    kandinsky22(tmp_path / "tokenizer").save_pretrained(tmp_path / "saved")
    done = run("fill", photo, *SPOON, "--pipeline", tmp_path / "saved", "--strength", 0.5)
    assert isinstance(done.exception, InputError)
    assert "KandinskyV22InpaintPipeline takes no strength" in str(done.exception)
