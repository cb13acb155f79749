"""The ComfyUI nodes against ComfyUI's published interface: what its loader reads and its executor calls."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import samovar
from samovar.errors import InputError
from samovar_adapters.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

torch = pytest.importorskip("torch")


def execute(prompt: dict[str, dict[str, Any]], node: str) -> tuple[Any, ...]:
    """One node of a workflow in ComfyUI's API format, the nodes that it links to first: what its executor does."""
    step = prompt[node]
    given = {
        name: execute(prompt, value[0])[value[1]] if isinstance(value, list) else value
        for name, value in step["inputs"].items()
    }
    made = NODE_CLASS_MAPPINGS[step["class_type"]]()
    answer = getattr(made, made.FUNCTION)(**given)
    result: tuple[Any, ...] = answer["result"] if isinstance(answer, dict) else answer
    return result


@pytest.fixture(scope="module")
def photos(photo: Path) -> Any:
    """Two of ComfyUI's IMAGEs."""
    pixels = samovar.Image(photo).pixels
    return torch.from_numpy(np.stack([pixels, pixels[:, ::-1]]).astype(np.float32) / 255)


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_every_node_says_what_its_loader_asks(name: str) -> None:
    node: Any = NODE_CLASS_MAPPINGS[name]
    assert name in NODE_DISPLAY_NAME_MAPPINGS
    inputs = node.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    declared = {**inputs["required"], **inputs.get("optional", {})}
    assert all(isinstance(kind, tuple) and isinstance(kind[0], (str, list)) for kind in declared.values())
    assert isinstance(node.RETURN_TYPES, tuple)
    assert isinstance(node.CATEGORY, str)
    taken = inspect.signature(getattr(node, node.FUNCTION)).parameters
    assert set(taken) - {"self"} == set(declared)
    optional = {one.name for one in taken.values() if one.default is not one.empty}
    assert optional == set(inputs.get("optional", {}))


def test_a_workflow_from_model_to_mask(photos: Any) -> None:
    prompt: dict[str, dict[str, Any]] = {
        "1": {"class_type": "SamovarLoadModel", "inputs": {"model": "default", "device": "cpu"}},
        "2": {
            "class_type": "SamovarPromptMask",
            "inputs": {"model": ["1", 0], "image": photos, "box": "[325, 215, 408, 327]"},
        },
        "3": {"class_type": "SamovarCacheStats", "inputs": {"model": ["1", 0], "after": ["2", 0]}},
    }
    (mask,) = execute(prompt, "2")
    assert mask.shape == (2, 400, 600)
    assert mask.dtype == torch.float32
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    wanted = samovar.load("default", device="cpu").segment(
        (photos[0].numpy() * 255).round().astype(np.uint8), samovar.Prompt(box=[325, 215, 408, 327])
    )
    assert np.array_equal(mask[0].numpy() > 0, wanted.to_array()[0])
    assert "default" in execute(prompt, "3")[0]


@pytest.mark.slow
def test_everything_or_one_object_by_its_size(photos: Any) -> None:
    node = NODE_CLASS_MAPPINGS["SamovarAutomaticMask"]()
    model = samovar.load("default")
    sizes = [float(node.segment(model, photos[:1], 6, rank)[0].sum()) for rank in (0, 1, 2, 999)]
    assert sizes[0] >= sizes[1] >= sizes[2] > sizes[3] == 0


@pytest.mark.parametrize(("points", "box"), [("[[1, 2", ""), ("[1, 2]", ""), ("", "left"), ("", "")])
def test_malformed_prompts_are_refused_in_one_line(points: str, box: str, photos: Any) -> None:
    node = NODE_CLASS_MAPPINGS["SamovarPromptMask"]()
    with pytest.raises(InputError) as refused:
        node.segment(samovar.load("default"), photos[:1], points, box)
    assert "\n" not in str(refused.value)
