"""Registers the formats. Imports none of them."""

from __future__ import annotations

from samovar.plugins import MaskSinkSpec, PromptSourceSpec, hookimpl
from samovar.types import Kind

__all__ = ["register_mask_sinks", "register_prompt_sources"]

_HERE = "samovar_adapters.formats"
_SINKS = (
    MaskSinkSpec("coco", f"{_HERE}.coco:CocoSink", "one COCO annotation file, as compressed RLE", ".json"),
    MaskSinkSpec("labelme", f"{_HERE}.labelme:LabelmeSink", "one labelme file per image", "", ".json"),
    MaskSinkSpec("labelmap", f"{_HERE}.sinks:LabelMapSink", "one 16-bit PNG of mask numbers per image", "", ".png"),
    MaskSinkSpec("npz", f"{_HERE}.sinks:NpzSink", "one NumPy archive per image, exact and complete", "", ".npz"),
    MaskSinkSpec("png", f"{_HERE}.sinks:PngSink", "one black and white PNG per mask, in a folder per image", ""),
    MaskSinkSpec(
        "polygons", f"{_HERE}.sinks:PolygonsSink", "polygons with holes, one JSON file per image", "", ".json"
    ),
    MaskSinkSpec("yolo", f"{_HERE}.yolo:YoloSink", "a YOLO segmentation data set", ""),
)


@hookimpl
def register_mask_sinks() -> tuple[MaskSinkSpec, ...]:
    """The file formats that masks can be written in."""
    return _SINKS


@hookimpl
def register_prompt_sources() -> tuple[PromptSourceSpec, ...]:
    """Annotation files as boxes, points or masks."""
    return (
        *_sources("coco", "a COCO annotation file", "FILE.json[,crowd=keep]"),
        *_sources("labelme", "labelme files", "FOLDER"),
        *_sources("yolo", "a YOLO data set", "FOLDER"),
    )


def _sources(name: str, what: str, argument: str) -> tuple[PromptSourceSpec, ...]:
    def spec(suffix: str, target: str, summary: str, *produces: Kind) -> PromptSourceSpec:
        place = f"{_HERE}.{name}:{target}"
        return PromptSourceSpec(name + suffix, place, summary, produces, argument=argument)

    boxes = f"the boxes of {what}"
    drawn = spec("", "drawn", f"{what}: as drawn, boxes or points", "box", "points")
    return (
        drawn if name == "labelme" else spec("", "boxes", boxes, "box"),
        spec("-boxes", "boxes", boxes, "box"),
        spec("-points", "points", f"{what}: a point deep inside each object", "points"),
        spec("-masks", "masks", f"the masks of {what}", "mask"),
    )
