"""Trackers with SAM 2's memory from the tensors of a checkpoint, on the encoder that images have.

The networks are transformers'. Models that descend from SAM 2 differ in a few settings and in names, see `VideoFamily`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from samovar.errors import MissingExtraError, WeightsError
from samovar_plugins.sam2.memory import MemoryTracker
from samovar_plugins.sam2.plugin import convert_video_name
from samovar_plugins.toolkit import SamSegmenter, convert_state_dict

if TYPE_CHECKING:
    from samovar.protocols import EmbeddingCache

__all__ = ["VideoFamily", "memory_tracker", "named", "session_of", "with_weights"]

_POINTS = "sam_prompt_encoder.point_embeddings"

# transformers builds no video model without an encoder, so it builds the least of them.
_LEAST = {
    "model_type": "sam2_hiera_det_model",
    "hidden_size": 8,
    "num_attention_heads": 1,
    "blocks_per_stage": [1, 1, 1, 1],
    "embed_dim_per_stage": [8, 8, 8, 8],
    "num_attention_heads_per_stage": [1, 1, 1, 1],
    "window_size_per_stage": [8, 4, 2, 1],
    "global_attention_blocks": [],
}


@dataclass(frozen=True)
class VideoFamily:
    """One of transformers' video models that are built as SAM 2's is. Without it, methods raise MissingExtraError.

    Attributes:
        module: of the family in transformers.
        prefix: that the names of its classes begin with.
        rename: from Hugging Face's names of its tensors to Meta's.
        later: whether it has what SAM 2.1 added to SAM 2.
        whole: see `MemoryTracker`.
    """

    module: str
    prefix: str
    rename: Callable[[str], str]
    later: bool = False
    whole: bool = False

    def model(self, side: int) -> Any:
        """The model for frames of that side, with random weights and without its encoder."""
        config = self._named("configuration", "Config")(
            image_size=side,
            vision_config=_vision_config(side),
            prompt_encoder_config={"image_size": side},
            memory_attention_rope_feat_sizes=[side // 16, side // 16],
            enable_temporal_pos_encoding_for_object_pointers=self.later,
            enable_occlusion_spatial_embedding=self.later,
        )
        model = self._named("modeling", "Model")(config)
        model.vision_encoder = None
        return model

    def tracker(
        self, tensors: Mapping[str, Tensor], encoder: SamSegmenter, cache: EmbeddingCache | None
    ) -> MemoryTracker:
        """A tracker from tensors under Meta's names. Raises WeightsError if one is missing, or of another shape."""
        model = with_weights(self.model(encoder.side), tensors, self.rename, encoder)
        session = session_of(self._named("modeling", "InferenceSession"), encoder)
        return MemoryTracker(model, session, encoder, cache, whole=self.whole)

    def _named(self, part: str, name: str) -> Any:
        """One of transformers' classes."""
        try:
            module = import_module(f"transformers.models.{self.module}.{part}_{self.module}")
        except ImportError as error:
            raise MissingExtraError(
                f'the memory engine needs transformers ({error}); run: pip install "samovar[sam2-video]"'
            ) from error
        return getattr(module, self.prefix + name)


def memory_tracker(
    load: Callable[[], Mapping[str, Tensor]], encoder: SamSegmenter, cache: EmbeddingCache | None = None
) -> MemoryTracker:
    """A tracker from the tensors of a checkpoint of SAM 2 or 2.1, under Meta's names or Hugging Face's.

    Args:
        load: reads the tensors.
        encoder: the segmenter of the same weights, which encodes frames.
        cache: what frames are encoded through.

    Raises:
        MissingExtraError: transformers is not installed.
        WeightsError: a tensor is missing, or of another shape.
    """
    known = named(load(), convert_video_name)
    family = VideoFamily("sam2_video", "Sam2Video", convert_video_name, later="no_obj_embed_spatial" in known)
    return family.tracker(known, encoder, cache)


def _vision_config(side: int) -> dict[str, Any]:
    """Of an encoder whose features are those of SAM 2's for a square of that side, and which is never run."""
    return {
        "model_type": "sam2_vision_model",
        "backbone_config": {**_LEAST, "image_size": [side, side]},
        "backbone_channel_list": [8, 8, 8, 8],
        "backbone_feature_sizes": [[side // stride, side // stride] for stride in (4, 8, 16)],
    }


def with_weights(model: Any, tensors: Mapping[str, Tensor], rename: Callable[[str], str], encoder: SamSegmenter) -> Any:
    """One of transformers' video models without an encoder, with the tensors that `rename` of its names finds.

    Raises WeightsError if one is missing, or of another shape.
    """
    state = {}
    for name, wanted in model.state_dict().items():
        found = tensors.get(rename(name))
        if found is None or found.shape != wanted.shape:
            got = "nothing" if found is None else "×".join(map(str, found.shape))
            raise WeightsError(f"expected {rename(name)} of {'×'.join(map(str, wanted.shape))}; got {got}")
        state[name] = found
    model.load_state_dict(state)
    return model.to(device=encoder.device, dtype=encoder.dtype).eval()


def session_of(kind: Any, encoder: SamSegmenter) -> Callable[[int, int], Any]:
    """Makes empty sessions of one of transformers' kinds, for videos of a height and a width."""
    device = encoder.device

    def session(height: int, width: int) -> Any:
        return kind(
            video_height=height,
            video_width=width,
            inference_device=device,
            inference_state_device=device,
            video_storage_device=device,
            dtype=encoder.dtype,
        )

    return session


def named(tensors: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    """The tensors under Meta's names, but with those of the four kinds of points as one.

    Args:
        rename: from Hugging Face's names, which `tensors` may have.
    """
    known = convert_state_dict(tensors, rename)
    parts = [known[name] for kind in range(4) if (name := f"{_POINTS}.{kind}.weight") in known]
    return known | {f"{_POINTS}.weight": torch.cat(parts)} if parts else known
