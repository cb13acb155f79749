"""SAM 3: where its weights come from, how its checkpoint is recognised, and how it is built.

Imports no model library: listing models reads this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar import hookimpl
from samovar.errors import WeightsError
from samovar.plugins import SegmenterSpec
from samovar_plugins.sam2 import convert_name
from samovar_plugins.toolkit import Detected, Family, Weights

if TYPE_CHECKING:
    from samovar_plugins.sam3.segmenter import Sam3Segmenter
    from samovar_plugins.toolkit import Shape

__all__ = ["FAMILY", "NAME", "identify_weights", "register_segmenters"]

NAME = "sam3"
HUB = "facebook/sam3"

SPEC = SegmenterSpec(
    name=NAME,
    target="samovar_plugins.sam3.plugin:FAMILY.load",
    prompts=("points", "box", "mask", "text"),
    summary="SAM 3 on images: clicks, boxes and masks, and text for every instance; ask for access at "
    f"https://huggingface.co/{HUB}",
    licence="SAM License",
    weights=HUB,
    extra="sam3",
    aliases=(HUB,),
    gated=True,
    parameters=859_921_848,
    embedding_bytes=4 * 72 * 72 * (1024 + 256 + 4 * 64 + 16 * 32),
    devices=("cpu", "cuda"),
)

_MARKS = (
    "detector_model.detr_decoder.query_embed.weight",
    "sam_mask_decoder.iou_token.weight",
    "tracker_neck.fpn_layers.0.proj1.weight",
)
_TRACKER = "tracker_model."
_LEFT_OPEN = (
    "image_size",
    "patch_size",
    "window_size",
    "global_attn_indexes",
    "num_attention_heads",
    "rope_theta",
    "rope_parameters",
)
"""What a configuration says of the encoder and its weights do not."""


def detect(shapes: Mapping[str, Shape]) -> Detected | None:
    """SAM 3, if its tensors are called as `convert` calls them."""
    if all(mark in shapes for mark in _MARKS):
        return Detected(NAME, (NAME,))
    if any(name.startswith(("detector.", "tracker.")) for name in shapes):
        return Detected("a SAM 3 checkpoint under Meta's names, where Hugging Face's are needed")
    return None


def convert(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The tracker's tensors under SAM 2's names, and all others under their own."""
    return {
        convert_name(name.removeprefix(_TRACKER)) if name.startswith(_TRACKER) else name: tensor
        for name, tensor in tensors.items()
    }


def build(weights: Weights) -> Sam3Segmenter:
    """The detector as transformers loads it, and SAM 2's decoder on the encoder that it shares with it."""
    from samovar_plugins.sam3.detector import Detector, Words, load_model
    from samovar_plugins.sam3.segmenter import Sam3Segmenter
    from samovar_plugins.sam3.tracker import build_tracker, memory_tracker
    from samovar_plugins.toolkit import SamSegmenter

    folder, device, dtype = _folder(weights.path), weights.device, weights.dtype
    model = load_model(folder, device, dtype)
    detector = Detector(model, Words(folder))
    encoder = model.config.vision_config.backbone_config
    components = build_tracker(detector.trunk, weights, encoder.image_size, encoder.patch_size)
    weights.state.at("detector_model.vision_encoder.backbone").everything()  # transformers has read them by itself
    said = encoder.to_dict()
    config = {name: said.get(name) for name in _LEFT_OPEN}
    mark = weights.fingerprint(components.resize, config)
    visual = SamSegmenter(components, fingerprint=mark, device=device, dtype=dtype)
    return Sam3Segmenter(visual, detector, partial(memory_tracker, folder, weights.reload, visual))


def _folder(path: Path) -> Path:
    """The folder that a model of Hugging Face is loaded from."""
    if path.is_dir():
        return path
    if path.name != "model.safetensors":
        raise WeightsError(f"expected a folder as Hugging Face lays it out, or its model.safetensors; got {path}")
    return path.parent


FAMILY = Family(specs=[SPEC], detect=detect, build=build, convert=convert, beside=[""])


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """SAM 3."""
    return FAMILY.specs


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Whether a checkpoint file or folder is SAM 3's, by the names of its tensors."""
    return FAMILY.identify(path)
