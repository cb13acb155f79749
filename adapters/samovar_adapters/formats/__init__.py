"""File formats: masks written to files, and annotation files as prompts. A library for the tools above it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

if TYPE_CHECKING:
    from samovar_adapters.formats.annotations import Annotation, AnnotationSource, NameIndex, Wanted, name_of
    from samovar_adapters.formats.coco import CocoSink, CocoSource
    from samovar_adapters.formats.files import check_file, check_folder, failure, files_below, write_whole
    from samovar_adapters.formats.labelme import LabelmeSink, LabelmeSource
    from samovar_adapters.formats.shapes import deepest, with_slits
    from samovar_adapters.formats.sinks import (
        ImageFileSink,
        LabelMapSink,
        NpzSink,
        PngSink,
        PolygonsSink,
        Sink,
        compact,
        png,
        read_masks,
    )
    from samovar_adapters.formats.yolo import YoloSink, YoloSource

__all__ = [
    "Annotation",
    "AnnotationSource",
    "CocoSink",
    "CocoSource",
    "ImageFileSink",
    "LabelMapSink",
    "LabelmeSink",
    "LabelmeSource",
    "NameIndex",
    "NpzSink",
    "PngSink",
    "PolygonsSink",
    "Sink",
    "Wanted",
    "YoloSink",
    "YoloSource",
    "check_file",
    "check_folder",
    "compact",
    "deepest",
    "failure",
    "files_below",
    "name_of",
    "png",
    "read_masks",
    "with_slits",
    "write_whole",
]

_NAMES = {
    "annotations": "Annotation AnnotationSource NameIndex Wanted name_of",
    "coco": "CocoSink CocoSource",
    "files": "check_file check_folder failure files_below write_whole",
    "labelme": "LabelmeSink LabelmeSource",
    "shapes": "deepest with_slits",
    "sinks": "ImageFileSink LabelMapSink NpzSink PngSink PolygonsSink Sink compact png read_masks",
    "yolo": "YoloSink YoloSource",
}

__getattr__ = lazy(__name__, {name: home for home, names in _NAMES.items() for name in names.split()})
