"""One set of types behind prompt files, `--json` lines and HTTP bodies."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from samovar import Masks, Prompts
from samovar.errors import InputError, PromptError
from samovar.prompt_files import load_prompts, save_prompts
from samovar.schema import (
    ImageRecord,
    MaskRecord,
    OpenImage,
    PromptRecord,
    SegmentRequest,
    image_record,
    mask_records,
    masks_to_records,
    prompts_of,
    read,
)

MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
RLE = Masks.from_array(MASK[None]).to_coco_rle()[0]


def data_url(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


PICTURE = data_url(np.zeros((6, 8, 3), np.uint8))


def same(one: Prompts, other: Prompts) -> bool:
    arrays = ("boxes", "points", "point_labels", "point_offsets")
    if not all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in arrays):
        return False
    masks = [[isinstance(mask, Masks) and mask.to_coco_rle() for mask in prompts.masks] for prompts in (one, other)]
    examples = [[each and each.mask.to_coco_rle() for each in prompts.exemplars] for prompts in (one, other)]
    rest = [(prompts.texts, prompts.labels, prompts.ids) for prompts in (one, other)]
    return masks[0] == masks[1] and examples[0] == examples[1] and rest[0] == rest[1]


@pytest.mark.parametrize(
    "prompts",
    [
        [],
        [[1, 2, 3, 4], [1, 2, 3.5, 4]],
        [[1, 2], [3, 4]],
        [[1, 2, 3, 4], [1, 2]],
        [{"box": [1, 2, 3, 4], "label": "bus", "id": 7}, {"box": [1, 2, 3, 4]}],
        [{"points": [1, 2]}, {"points": [[1, 2], [3, 4]], "point_labels": [1, 0], "id": "a"}],
        [{"text": "a red car", "box": None}],
        [{"mask": RLE}, {"mask": {"size": [6, 8], "counts": [13, 3, 32]}}, {"mask": data_url(MASK.astype(np.uint8))}],
        [{"exemplar": {"image": PICTURE, "mask": RLE}}],
    ],
    ids=str,
)
def test_what_a_file_takes_a_request_takes_with_the_same_result(tmp_path: Path, prompts: list[Any]) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(prompts))
    body = json.dumps({"image": PICTURE, "prompts": prompts}).encode()
    requested = prompts_of(read(body, SegmentRequest).prompts, "prompts", OpenImage())
    for loaded in (load_prompts(path), load_prompts(prompts)):
        assert isinstance(loaded, Prompts)
        assert same(loaded, requested)


def test_what_is_written_is_what_the_types_read() -> None:
    masks = Masks.from_array(MASK[None]).replace(labels=["bus"], ids=[7], prompt_index=np.array([3]))
    [record] = masks_to_records(masks)
    assert list(record) == ["box", "area", "score", "prompt", "label", "id", "segmentation"]
    assert (record["box"], record["area"], record["prompt"], record["label"]) == ([2, 1, 7, 4], 15, 3, "bus")
    assert read(json.dumps(record).encode(), MaskRecord) == mask_records(masks)[0]
    [outlined] = mask_records(masks, polygons_within=0.0)
    polygons: Any = read(msgspec.json.encode(outlined), MaskRecord).polygons
    assert sorted(polygons[0][0]) == [[2, 1], [2, 4], [7, 1], [7, 4]]
    assert list(image_record("a.jpg", "failed", None, "why")) == ["image", "status", "error"]
    line = image_record("a.jpg", "written", masks, None)
    assert list(line) == ["image", "status", "width", "height", "masks"]
    assert read(json.dumps(line).encode(), ImageRecord).masks == mask_records(masks)


def test_a_prompt_file_is_written_from_the_records(tmp_path: Path) -> None:
    save_prompts(Prompts.from_boxes([[0.1, 1, 2, 3]], labels=["bus"]), tmp_path / "prompts.json")
    [written] = json.loads((tmp_path / "prompts.json").read_text())
    assert read(written, PromptRecord) == PromptRecord(box=[0.1, 1.0, 2.0, 3.0], label="bus")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "expected a JSON object; got something else"),
        (b"5", "expected a JSON object; got a number"),
        (b"{}", "expected the key 'image'; got none; write what /v1/embed answered"),
        (
            b'{"image": "a", "prompts": [[1, 2], {"exemplar": {"picture": 1}}]}',
            "prompts[1].exemplar: expected the keys",
        ),
        (b'{"image": "a", "prompts": [{"boxes": []}]}', "got 'boxes'; did you mean box?"),
        (b'{"image": "", "prompts": []}', "image: expected a string of length >= 1; write what"),
        (b'{"image": "a", "prompts": [], "tolerance": 2000}', "tolerance: expected a number <= 1000"),
    ],
)
def test_a_mistake_is_one_line_with_its_place_and_what_to_do(value: bytes, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(value, SegmentRequest)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(";") >= 1


def test_records_open_no_paths_and_no_addresses(tmp_path: Path) -> None:
    for name in (str(tmp_path), "http://127.0.0.1/mask.png"):
        with pytest.raises(PromptError, match="expected a data: URL"):
            prompts_of([PromptRecord(mask=name)], "prompts", OpenImage())
