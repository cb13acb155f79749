"""From SAM 3's published weights to a segmenter."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from samovar.errors import MissingExtraError, WeightsError
from samovar_plugins.sam.checkpoint import read_contents
from samovar_plugins.sam.loading import choose_dtype, fingerprint, require
from samovar_plugins.sam3.catalogue import HUB, PAGE, SOURCE, recognise
from samovar_plugins.weights import locate

if TYPE_CHECKING:
    from samovar_plugins.sam3.segmenter import Sam3Segmenter

__all__ = ["load_sam3"]

FILES = ("config.json", "tokenizer.json")
"""What the repository has beside its weights, and is needed."""


def load_sam3(name: str, *, weights: str | None, device: str, dtype: str) -> Sam3Segmenter:
    """SAM 3, ready on `device`, with its own tracker for video, which is loaded when it is asked for.

    Args:
        name: "sam3".
        weights: a folder as Hugging Face lays it out, its model.safetensors, or a hub id; None for the published ones,
            which are gated: ask for access on their page, and set $HF_TOKEN to a token of yours.
        device: "cpu", "cuda" or "cuda:1".
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        WeightsError: weights that are missing, gated, torn or of another architecture.
        DeviceError: a dtype that the device cannot use, or a device that is not there.
        MissingExtraError: torch or transformers is not installed.
    """
    try:
        import torch

        from samovar_plugins.sam.layers import State
        from samovar_plugins.sam.segmenter import SamSegmenter
        from samovar_plugins.sam.tensors import load_tensors
        from samovar_plugins.sam3.detector import Detector, Words, load_model
        from samovar_plugins.sam3.memory import memory_tracker
        from samovar_plugins.sam3.segmenter import Sam3Segmenter
        from samovar_plugins.sam3.tracker import build, head_tensors
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'model {name!r} needs torch and transformers; pip install "samovar[sam3]"') from error
    chosen = choose_dtype(dtype, device)
    path = locate(weights or HUB, SOURCE, gated=PAGE, also=FILES)
    contents = read_contents(path)
    require(path, contents, name, *recognise(contents.shapes))
    folder = _folder(path)
    model = load_model(folder, device, chosen)
    detector = Detector(model, Words(folder))
    tensors = head_tensors(load_tensors(path, contents, ("tracker_model.", "tracker_neck.")))
    vit = model.config.vision_config.backbone_config
    with torch.inference_mode():
        parts = build(detector.trunk, State(tensors, device, chosen), vit.image_size, vit.patch_size)
    mark = fingerprint(name, path, chosen)
    visual = SamSegmenter(parts, fingerprint=mark, device=device, dtype=chosen)
    memory = partial(load_tensors, path, contents, "tracker_model.")
    return Sam3Segmenter(visual, detector, partial(memory_tracker, folder, memory, visual, chosen))


def _folder(path: Path) -> Path:
    """The folder that a model of Hugging Face is loaded from."""
    if path.is_dir():
        return path
    if path.name != "model.safetensors":
        raise WeightsError(f"expected a folder as Hugging Face lays it out, or its model.safetensors; got {path}")
    return path.parent
