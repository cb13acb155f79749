"""SAM 2 and SAM 2.1: what its models are, how their checkpoints are recognised, and which networks each is made of.

Imports no model library: listing models reads this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from samovar import hookimpl
from samovar.plugins import SegmenterSpec
from samovar_plugins.toolkit import Detected, Family, Weights, convert_state_dict
from samovar_plugins.toolkit import convert_name as convert_sam_name

if TYPE_CHECKING:
    from samovar_plugins.toolkit import SamComponents, Shape

__all__ = [
    "BESIDE",
    "FAMILY",
    "MODELS",
    "Layout",
    "convert_name",
    "convert_video_name",
    "identify_weights",
    "register_segmenters",
]


@dataclass(frozen=True)
class Layout:
    """Structure of a Hiera encoder (2023), as SAM 2 uses it.

    Attributes:
        stages: blocks in each of the stages; the first block of every stage but the first halves rows and columns.
        heads: of the first stage's attention; each stage doubles them.
        windows: side of the attention windows in each stage.
        everywhere: blocks, counted from 0, that attend to the whole map instead.
    """

    stages: tuple[int, ...]
    heads: int
    windows: tuple[int, ...]
    everywhere: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Blocks of all stages."""
        return sum(self.stages)


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        name: what people type.
        width: channels of its encoder's first stage; with the depth of `layout` they tell sizes apart.
        layout: what the weights of its encoder leave open.
        later: whether it is of SAM 2.1, whose video part has weights that SAM 2's lacks.
        summary: one line for listings.
        weights, digest: where they come from, and of the file there.
        parameters: how many, those for video included.
        aliases: other names.
    """

    name: str
    width: int
    layout: Layout
    later: bool
    summary: str
    weights: str
    digest: str
    parameters: int
    aliases: tuple[str, ...] = ()

    @property
    def spec(self) -> SegmenterSpec:
        """As plugins register it."""
        return SegmenterSpec(
            name=self.name,
            target="samovar_plugins.sam2.plugin:FAMILY.load",
            prompts=("points", "box", "mask"),
            summary=self.summary,
            licence="Apache-2.0",
            weights=self.weights,
            extra="sam",
            aliases=self.aliases,
            parameters=self.parameters,
            embedding_bytes=16 << 20,
            devices=("cpu", "cuda"),
        )


VIDEO = 16_512
"""Parameters of SAM 2.1's video part that SAM 2 lacks."""

_META = "https://dl.fbaipublicfiles.com/segment_anything_2"
_TINY = Layout((1, 2, 7, 2), 1, (8, 4, 14, 7), (5, 7, 9))
_SMALL = Layout((1, 2, 11, 2), 1, (8, 4, 14, 7), (7, 10, 13))
_BASE = Layout((2, 3, 16, 3), 2, (8, 4, 14, 7), (12, 16, 20))
_LARGE = Layout((2, 6, 36, 4), 2, (8, 4, 16, 8), (23, 33, 43))


def _published(size: str, width: int, layout: Layout, parameters: int, digests: tuple[str, str]) -> list[Model]:
    """A size as SAM 2.1 and as SAM 2; the digests are of their files, in that order."""
    file, hub = size.replace("-", "_"), size
    short = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}[size]
    return [
        Model(
            name=f"{version}-{size}",
            width=width,
            layout=layout,
            later=later,
            summary=f"SAM {version.removeprefix('sam')} with Hiera-{short.upper()}, on images",
            weights=f"{_META}/{date}/{version}_hiera_{file}.pt",
            digest=f"sha256:{digest}",
            parameters=parameters + (VIDEO if later else 0),
            aliases=(f"facebook/{version}-hiera-{hub}", f"{version}_hiera_{file}"),
        )
        for (version, date, later), digest in zip((("sam2.1", "092824", True), ("sam2", "072824", False)), digests)
    ]


MODELS: tuple[Model, ...] = tuple(
    model
    for size in (
        _published(
            "tiny",
            96,
            _TINY,
            38_945_986,
            (
                "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
                "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
            ),
        ),
        _published(
            "small",
            96,
            _SMALL,
            46_043_842,
            (
                "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
                "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
            ),
        ),
        _published(
            "base-plus",
            112,
            _BASE,
            80_833_666,
            (
                "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
                "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
            ),
        ),
        _published(
            "large",
            144,
            _LARGE,
            224_430_130,
            (
                "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
                "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
            ),
        ),
    )
    for model in size
)

_IMAGE_NAMES = {
    "no_memory_embedding": "no_mem_embed",
    "occlusion_spatial_embedding_parameter": "no_obj_embed_spatial",
}

_IMAGE_PATTERNS = (
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^(mask_decoder|prompt_encoder)\.", r"sam_\1."),
    (r"^(image_encoder\.trunk)\.patch_embed\.projection\.", r"\1.patch_embed.proj."),
    (r"^(image_encoder\.trunk\.blocks\.\d+)\.layer_norm(\d)\.", r"\1.norm\2."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
    (r"\.o_proj\.", ".out_proj."),
)

_VIDEO_NAMES = {
    "memory_temporal_positional_encoding": "maskmem_tpos_enc",
    "no_memory_positional_encoding": "no_mem_pos_enc",
    "no_object_pointer": "no_obj_ptr",
}

_MLP = {"proj_in": 0, "layers.0": 1, "proj_out": 2}

_VIDEO_PATTERNS = (
    (r"^(memory_attention\.(?:layers\.\d+\.)?)layer_norm(\d?)\.", r"\1norm\2."),
    (r"^memory_encoder\.mask_downsampler\.final_conv\.", "memory_encoder.mask_downsampler.encoder.12."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)scale$", r"\1fuser\2gamma"),
    (r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)depthwise_conv\.", r"\1fuser\2dwconv."),
    (r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)pointwise_conv", r"\1fuser\2pwconv"),
    (r"^(memory_encoder\.)memory_fuser(\.layers\.\d+\.)layer_norm\.", r"\1fuser\2norm."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
)

_DOWNSAMPLER = r"^(memory_encoder\.mask_downsampler)\.layers\.(\d+)\.(conv|layer_norm)\."
_HEADS = r"^(object_pointer_proj|mask_decoder\.pred_obj_score_head)\.(proj_in|layers\.0|proj_out)\."


_TRUNK = "image_encoder.trunk."


def detect(shapes: Mapping[str, Shape]) -> Detected | None:
    """The model whose tensors, under Meta's names, have these shapes.

    Files for images alone lack the part that tells SAM 2.1 from SAM 2, and may be either.
    """
    if f"{_TRUNK}pos_embed_window" not in shapes or "sam_mask_decoder.iou_token.weight" not in shapes:
        return None
    width = shapes[f"{_TRUNK}pos_embed_window"][1]
    depth = len({name[len(_TRUNK) :].split(".")[1] for name in shapes if name.startswith(f"{_TRUNK}blocks.")})
    video = any(name.startswith("memory_encoder.") for name in shapes)
    later = not video or "no_obj_embed_spatial" in shapes
    fits = [model for model in MODELS if (model.width, model.layout.depth) == (width, depth)]
    names = tuple(model.name for model in fits if not video or model.later == later)
    if names:
        return Detected(names[0], names)
    return Detected(f"a SAM {'2.1' if later else '2'} with an encoder of {width} channels and {depth} blocks")


def convert_name(name: str) -> str:
    """Meta's name for what Hugging Face calls `name` in SAM 2 for images."""
    name = convert_sam_name(name)
    if name in _IMAGE_NAMES:
        return _IMAGE_NAMES[name]
    for pattern, replacement in _IMAGE_PATTERNS:
        name = re.sub(pattern, replacement, name)
    return name


def convert_video_name(name: str) -> str:
    """The same in its video model, whose part for images has the names above."""
    if name in _VIDEO_NAMES:
        return _VIDEO_NAMES[name]
    for pattern, replacement in _VIDEO_PATTERNS:
        changed = re.sub(pattern, replacement, name)
        if changed != name:
            return changed
    if found := re.match(_DOWNSAMPLER, name):
        place = 3 * int(found[2]) + (found[3] == "layer_norm")
        return f"{found[1]}.encoder.{place}.{name[found.end() :]}"
    if found := re.match(_HEADS, name):
        head = "obj_ptr_proj" if found[1] == "object_pointer_proj" else f"sam_{found[1]}"
        return f"{head}.layers.{_MLP[found[2]]}.{name[found.end() :]}"
    return convert_name(name)


def _build(weights: Weights) -> SamComponents:
    from samovar_plugins.sam2.decoder import build_sam2
    from samovar_plugins.sam2.video import memory_tracker

    layout = next(model.layout for model in MODELS if model.name == weights.name)
    return replace(build_sam2(layout, weights.state), tracker=partial(memory_tracker, weights.reload))


BESIDE = (
    r"memory_(attention|encoder|temporal)",
    r"maskmem_tpos_enc$",
    r"no_(mem_pos_enc|memory_positional|obj_ptr|object_pointer|obj_embed_spatial)",
    r"(obj_ptr|object_pointer)_proj\.",
    r"obj_ptr_tpos_proj\.|temporal_positional_encoding_projection_layer\.",
    r"occlusion_spatial_embedding_parameter$",
    r"mask_downsample\.",
    r"(sam_)?mask_decoder\.pred_obj_score_head\.",
)
"""Tensors of the memory of earlier frames, under either's names."""

FAMILY = Family(
    specs=[model.spec for model in MODELS],
    detect=detect,
    build=_build,
    convert=partial(convert_state_dict, convert=convert_name),
    beside=BESIDE,
    digests={model.name: model.digest for model in MODELS},
)


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """SAM 2.1 and SAM 2 in their four sizes."""
    return FAMILY.specs


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Which of them a checkpoint file or folder is for, by the names and shapes of its tensors."""
    return FAMILY.identify(path)
