"""What models of SAM's kind are made of, for Samovar's own plugins and for anybody's.

Names are imported when they are first used: `Family`, which describes models, needs no torch; networks do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

_MODULES = {
    "attention": "Attention ImageState",
    "checkpoint": "CheckpointHeader load_tensors read_header Shape",
    "family": "assemble Detected Family Weights",
    "layers": "Activation gelu_ Linear map_norm Mlp multiply Neck Norm PackedLinear PatchEmbed relu_ residual_mlp "
    "StateDict window_partition window_unpartition",
    "mask_decoder": "as_map as_rows best_of choose Decoded Decoder DecoderCore MULTIMASK SamDecoder Shared Skips "
    "TwoWayTransformer Upscaler",
    "names": "convert_name convert_state_dict",
    "outlines": "outline Outlines stability",
    "prompt_encoder": "Group group_prompts PointEncoder PromptEncoder SamPromptEncoder",
    "resize": "Axis direct Interpolation Resize ResizeLongestSide Stretch through_square",
    "segmenter": "Encoder MaskBuilder SamComponents SamSegmenter SamVideoSegmenter",
}

__all__ = [
    "MULTIMASK",
    "Activation",
    "Attention",
    "Axis",
    "CheckpointHeader",
    "Decoded",
    "Decoder",
    "DecoderCore",
    "Detected",
    "Encoder",
    "Family",
    "Group",
    "ImageState",
    "Interpolation",
    "Linear",
    "MaskBuilder",
    "Mlp",
    "Neck",
    "Norm",
    "Outlines",
    "PackedLinear",
    "PatchEmbed",
    "PointEncoder",
    "PromptEncoder",
    "Resize",
    "ResizeLongestSide",
    "SamComponents",
    "SamDecoder",
    "SamPromptEncoder",
    "SamSegmenter",
    "SamVideoSegmenter",
    "Shape",
    "Shared",
    "Skips",
    "StateDict",
    "Stretch",
    "TwoWayTransformer",
    "Upscaler",
    "Weights",
    "as_map",
    "as_rows",
    "assemble",
    "best_of",
    "choose",
    "convert_name",
    "convert_state_dict",
    "direct",
    "gelu_",
    "group_prompts",
    "load_tensors",
    "map_norm",
    "multiply",
    "outline",
    "read_header",
    "relu_",
    "residual_mlp",
    "stability",
    "through_square",
    "window_partition",
    "window_unpartition",
]

__getattr__ = lazy(__name__, {name: module for module, names in _MODULES.items() for name in names.split()})

if TYPE_CHECKING:
    from samovar_plugins.toolkit.attention import Attention, ImageState
    from samovar_plugins.toolkit.checkpoint import CheckpointHeader, Shape, load_tensors, read_header
    from samovar_plugins.toolkit.family import Detected, Family, Weights, assemble
    from samovar_plugins.toolkit.layers import (
        Activation,
        Linear,
        Mlp,
        Neck,
        Norm,
        PackedLinear,
        PatchEmbed,
        StateDict,
        gelu_,
        map_norm,
        multiply,
        relu_,
        residual_mlp,
        window_partition,
        window_unpartition,
    )
    from samovar_plugins.toolkit.mask_decoder import (
        MULTIMASK,
        Decoded,
        Decoder,
        DecoderCore,
        SamDecoder,
        Shared,
        Skips,
        TwoWayTransformer,
        Upscaler,
        as_map,
        as_rows,
        best_of,
        choose,
    )
    from samovar_plugins.toolkit.names import convert_name, convert_state_dict
    from samovar_plugins.toolkit.outlines import Outlines, outline, stability
    from samovar_plugins.toolkit.prompt_encoder import (
        Group,
        PointEncoder,
        PromptEncoder,
        SamPromptEncoder,
        group_prompts,
    )
    from samovar_plugins.toolkit.resize import (
        Axis,
        Interpolation,
        Resize,
        ResizeLongestSide,
        Stretch,
        direct,
        through_square,
    )
    from samovar_plugins.toolkit.segmenter import Encoder, MaskBuilder, SamComponents, SamSegmenter, SamVideoSegmenter
