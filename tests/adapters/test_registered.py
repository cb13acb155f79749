"""What the adapters register, and that listing it costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from samovar.cli.main import main
from samovar.plugins import (
    InpainterSpec,
    MaskSinkSpec,
    PromptSourceSpec,
    TrackerSpec,
    list_inpainters,
    list_mask_sinks,
    list_prompt_sources,
    list_trackers,
    resolve,
)

SOURCES = ["faces", "instances", "mmdet", "mmocr", "rapidocr", "tesseract"] + [
    f"{name}{kind}"
    for name in ("coco", "label-studio", "labelme", "yolo")
    for kind in ("", "-boxes", "-points", "-masks")
]


Registered = MaskSinkSpec | PromptSourceSpec | TrackerSpec | InpainterSpec


def ours() -> list[Registered]:
    specs: list[Registered] = [*list_mask_sinks(), *list_prompt_sources(), *list_trackers(), *list_inpainters()]
    return [spec for spec in specs if spec.target.startswith("samovar_")]


def names(kind: type) -> set[str]:
    return {spec.name for spec in ours() if isinstance(spec, kind)}


def test_what_people_name_is_there() -> None:
    assert names(PromptSourceSpec) == set(SOURCES)
    assert names(TrackerSpec) == {"propagate", "detections"}
    assert names(InpainterSpec) == {"patches", "telea", "navier-stokes", "diffusers"}


@pytest.mark.parametrize("spec", ours(), ids=lambda spec: f"{spec.noun} {spec.name}")
def test_every_target_is_there(spec: Registered) -> None:
    assert callable(resolve(spec))


def test_people_read_what_to_type_after_source_and_sink(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["plugins"])
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    typed = {word for line in lines for word in line if "=" in word}
    assert {"coco-boxes=FILE.json[,crowd=keep]", "faces[=CASCADE.xml]", "coco=FILE.json", "overlay=FOLDER"} <= typed


def loaded_after(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


LIST = "from samovar.plugins import *; list_mask_sinks(); list_prompt_sources(); list_trackers(); list_inpainters()"
USE = "from samovar.plugins import find_mask_sink, resolve; resolve(find_mask_sink('png'))"


def test_listing_formats_imports_none_of_them() -> None:
    assert not loaded_after(LIST) & {"cv2", "PIL", "numba", "samovar_adapters.formats.sinks"}


def test_that_an_import_would_be_seen() -> None:
    assert "cv2" in loaded_after(USE)
