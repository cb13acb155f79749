"""The node pack in a real ComfyUI: found by its loader, checked by its validator, run by its graph executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

import samovar
from samovar_adapters.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
from tests.frontends.comfyui import ComfyUI

BOX = [325, 215, 408, 327]  # the spoon


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs}


def workflow(name: str, **prompt: str) -> dict[str, dict[str, Any]]:
    """Load a picture and a model, prompt, and save the mask under `name`; beside it, what the cache did."""
    return {
        "photo": node("LoadImage", image="photo.png"),
        "model": node("SamovarLoadModel", model="default", device="cpu"),
        "mask": node("SamovarPromptMask", model=["model", 0], image=["photo", 0], **prompt),
        "picture": node("MaskToImage", mask=["mask", 0]),
        "saved": node("SaveImage", images=["picture", 0], filename_prefix=name),
        "cache": node("SamovarCacheStats", model=["model", 0], after=["mask", 0]),
    }


def cached(done: dict[str, Any]) -> set[str]:
    """The nodes whose results the executor had from the run before."""
    (nodes,) = (said["nodes"] for kind, said in done["status"]["messages"] if kind == "execution_cached")
    return set(nodes)


@pytest.fixture(scope="module", autouse=True)
def photo_sent(comfyui: ComfyUI, photo: Path) -> None:
    Pillow.open(photo).save(comfyui.inputs / "photo.png")


def saved(comfyui: ComfyUI, done: dict[str, Any], node: str = "saved") -> np.ndarray:
    (file,) = done["outputs"][node]["images"]
    return np.asarray(Pillow.open(comfyui.outputs / file["filename"]))[..., 0] > 127


def test_the_loader_finds_every_node_under_its_name(comfyui: ComfyUI) -> None:
    found = comfyui.ask("/object_info")
    assert {name: found[name]["display_name"] for name in NODE_CLASS_MAPPINGS} == NODE_DISPLAY_NAME_MAPPINGS
    assert found["SamovarPromptMask"]["output"] == ["MASK"]
    assert "default" in found["SamovarLoadModel"]["input"]["required"]["model"][0]
    assert found["SamovarCacheStats"]["output_node"]


@pytest.mark.parametrize("prompt", [{"box": str(BOX)}, {"points": "[[366, 285], [366, 240, 0]]"}])
def test_the_executor_makes_the_mask_that_the_library_makes(
    comfyui: ComfyUI, photo: Path, prompt: dict[str, str]
) -> None:
    done = comfyui.run(workflow("mask", **prompt))
    assert done["status"]["status_str"] == "success"
    given: Any = {"box": BOX} if "box" in prompt else {"points": [[366, 285], [366, 240]], "point_labels": [1, 0]}
    wanted = samovar.load("default", device="cpu").segment(photo, samovar.Prompt(**given)).to_array()[0]
    assert np.array_equal(saved(comfyui, done), wanted)
    assert "memory · default: 1 images" in done["outputs"]["cache"]["text"][0]


def test_what_did_not_change_is_not_run_again_but_the_cache_is_counted_again(comfyui: ComfyUI) -> None:
    again = [comfyui.run(workflow("again", box="[300, 200, 420, 330]")) for _ in range(2)][1]
    assert cached(again) == {"photo", "model", "mask", "picture", "saved"}
    other = comfyui.run(workflow("again", box="[290, 200, 420, 330]"))
    assert {"photo", "model"} <= cached(other)
    assert "mask" not in cached(other)


def test_masks_of_everything_go_into_comfyuis_own_nodes(comfyui: ComfyUI) -> None:
    graph = workflow("rest", box=str(BOX)) | {
        "all": node("SamovarAutomaticMask", model=["model", 0], image=["photo", 0], points_per_side=6, rank=0),
        "rest": node("MaskComposite", destination=["all", 0], source=["mask", 0], x=0, y=0, operation="subtract"),
        "grown": node("GrowMask", mask=["rest", 0], expand=0, tapered_corners=False),
    }
    graph["picture"]["inputs"]["mask"] = ["grown", 0]
    done = comfyui.run(graph)
    assert done["status"]["status_str"] == "success"
    rest = saved(comfyui, done)
    assert rest.shape == (400, 600)
    assert rest.any()
    assert not rest[285, 366]  # on the spoon


def test_a_malformed_prompt_is_shown_at_its_node(comfyui: ComfyUI) -> None:
    done = comfyui.run(workflow("bad", box="[1, 2"))
    assert done["status"]["status_str"] == "error"
    (said,) = (said for kind, said in done["status"]["messages"] if kind == "execution_error")
    assert said["node_id"] == "mask"
    assert said["exception_message"].strip() == "box: expected [x1, y1, x2, y2] as JSON; got '[1, 2'"


def test_a_value_out_of_range_is_refused_before_anything_runs(comfyui: ComfyUI) -> None:
    graph = {
        "photo": node("LoadImage", image="photo.png"),
        "model": node("SamovarLoadModel", model="default", device="cpu"),
        "all": node("SamovarAutomaticMask", model=["model", 0], image=["photo", 0], points_per_side=1000, rank=0),
        "shown": node("MaskToImage", mask=["all", 0]),
        "saved": node("SaveImage", images=["shown", 0], filename_prefix="never"),
    }
    refused = comfyui.ask("/prompt", {"prompt": graph})
    assert refused["error"]["type"] == "prompt_outputs_failed_validation"
    (problem,) = refused["node_errors"]["all"]["errors"]
    assert problem["type"] == "value_bigger_than_max"
