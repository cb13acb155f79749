"""A small COCO data set, and configs that test detectors on it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samovar import Masks

__all__ = ["CLASSES", "CocoSet", "write_coco_set"]

CLASSES = ("thing", "segment")


@dataclass(frozen=True)
class CocoSet:
    """A folder of photographs and their annotation file."""

    images: Path
    annotations: Path
    files: list[str]
    boxes: int

    def loader(self, pipeline: list[dict[str, Any]], batch: int = 4) -> dict[str, Any]:
        """A test_dataloader over it."""
        return {
            "batch_size": batch,
            "num_workers": 0,
            "persistent_workers": False,
            "drop_last": False,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                "type": "CocoDataset",
                "ann_file": str(self.annotations),
                "data_root": "",
                "data_prefix": {"img": f"{self.images}/"},
                "metainfo": {"classes": CLASSES},
                "test_mode": True,
                "pipeline": pipeline,
                "backend_args": None,
                "_delete_": True,
            },
        }

    def part(self, file: Path, names: list[str], suffix: str) -> str:
        """Write the annotations of some images, of files of another suffix."""
        content = json.loads(self.annotations.read_text())
        images = [image for image in content["images"] if image["file_name"] in names]
        numbers = {image["id"] for image in images}
        content["annotations"] = [one for one in content["annotations"] if one["image_id"] in numbers]
        content["images"] = [
            {**image, "file_name": str(Path(image["file_name"]).with_suffix(suffix))} for image in images
        ]
        file.write_text(json.dumps(content))
        return str(file)

    def evaluator(self, *metrics: str) -> dict[str, Any]:
        """MMDetection's own COCO evaluation of it."""
        return {"type": "CocoMetric", "ann_file": str(self.annotations), "metric": list(metrics), "_delete_": True}


def write_coco_set(folder: Path, data_folder: Path, images: int) -> CocoSet:
    """Half of the photographs show things of COCO, half segments of BSDS; at least three masks each."""
    index = json.loads((data_folder / "masks" / "index.json").read_text())
    found: dict[str, list[dict[str, Any]]] = {entry["file"]: [] for entry in index["images"]}
    for mask in index["masks"]:
        found[index["images"][mask["image"]]["file"]].append(mask)
    chosen: list[dict[str, Any]] = []
    for subset in ("cocotr", "bsdstr"):
        of_it = [entry for entry in index["images"] if entry["subset"] == subset and len(found[entry["file"]]) >= 3]
        chosen += of_it[: images // 2]
    (folder / "images").mkdir()
    written: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number, entry in enumerate(chosen, 1):
        name = Path(entry["file"]).name
        shutil.copy(data_folder / "masks" / entry["file"], folder / "images" / name)
        written["images"].append({"id": number, "file_name": name, "width": entry["width"], "height": entry["height"]})
        for mask in found[entry["file"]]:
            x1, y1, x2, y2 = mask["box"]
            written["annotations"].append(
                {
                    "id": len(written["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 1 if entry["subset"] == "cocotr" else 2,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": int(Masks.from_coco_rle([mask["rle"]]).areas[0]),
                    "segmentation": mask["rle"],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASSES, 1)]
    (folder / "annotations.json").write_text(json.dumps({**written, "categories": categories}))
    return CocoSet(
        folder / "images",
        folder / "annotations.json",
        [image["file_name"] for image in written["images"]],
        len(written["annotations"]),
    )
