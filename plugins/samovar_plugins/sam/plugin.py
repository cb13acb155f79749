"""The SAM family: what its models are, how their checkpoints are recognised, and which networks each is made of.

Imports no model library: listing models reads this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samovar import hookimpl
from samovar.plugins import SegmenterSpec
from samovar_plugins.toolkit import Detected, Family, Weights, convert_state_dict

if TYPE_CHECKING:
    from samovar_plugins.toolkit import Encoder, SamComponents, Shape, StateDict

__all__ = ["FAMILY", "MODELS", "build_sam", "identify_weights", "register_segmenters"]

Kind = Literal["sam", "sam-hq", "mobile-sam", "sam-hq-tiny", "efficient-sam"]

_KINDS: dict[Kind, str] = {
    "sam": "SAM",
    "sam-hq": "SAM-HQ",
    "mobile-sam": "MobileSAM",
    "sam-hq-tiny": "Light HQ-SAM",
    "efficient-sam": "EfficientSAM",
}


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        name: what people type.
        kind: which networks it is made of.
        width, depth: channels and blocks of its encoder; they tell models of a kind apart.
        summary: one line for listings.
        weights, digest: where they come from, and of the file there.
        parameters: how many.
        aliases: other names.
    """

    name: str
    kind: Kind
    width: int
    depth: int
    summary: str
    weights: str
    digest: str
    parameters: int
    aliases: tuple[str, ...] = ()

    @property
    def embedding_bytes(self) -> int:
        """Of one image, in float32: 256 channels; SAM-HQ's fine features have 32 at 16 times as many positions."""
        return (12 if self.kind in ("sam-hq", "sam-hq-tiny") else 4) << 20

    @property
    def spec(self) -> SegmenterSpec:
        """As plugins register it."""
        return SegmenterSpec(
            name=self.name,
            target="samovar_plugins.sam.plugin:FAMILY.load",
            prompts=("points", "box") if self.kind == "efficient-sam" else ("points", "box", "mask"),
            summary=self.summary,
            licence="Apache-2.0",
            weights=self.weights,
            extra="sam",
            aliases=self.aliases,
            parameters=self.parameters,
            embedding_bytes=self.embedding_bytes,
            devices=("cpu", "cuda"),
        )


_META = "https://dl.fbaipublicfiles.com/segment_anything"
_HQ = "https://huggingface.co/lkeab/hq-sam/resolve/main"
_EFFICIENT = "https://github.com/yformer/EfficientSAM/raw/d525f622e6f640acf5a0fc37c7ca1f243da5bde0/weights"

MODELS: tuple[Model, ...] = (
    Model(
        name="sam-vit-b",
        kind="sam",
        width=768,
        depth=12,
        summary="SAM with its smallest encoder, ViT-B",
        weights=f"{_META}/sam_vit_b_01ec64.pth",
        digest="sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        parameters=93_735_472,
        aliases=("facebook/sam-vit-base", "sam_vit_b"),
    ),
    Model(
        name="sam-vit-l",
        kind="sam",
        width=1024,
        depth=24,
        summary="SAM with ViT-L",
        weights=f"{_META}/sam_vit_l_0b3195.pth",
        digest="sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        parameters=312_342_832,
        aliases=("facebook/sam-vit-large", "sam_vit_l"),
    ),
    Model(
        name="sam-vit-h",
        kind="sam",
        width=1280,
        depth=32,
        summary="SAM with its largest and best encoder, ViT-H",
        weights=f"{_META}/sam_vit_h_4b8939.pth",
        digest="sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        parameters=641_090_608,
        aliases=("facebook/sam-vit-huge", "sam_vit_h"),
    ),
    Model(
        name="sam-hq-vit-b",
        kind="sam-hq",
        width=768,
        depth=12,
        summary="SAM-HQ with ViT-B: finer outlines, one mask a prompt",
        weights=f"{_HQ}/sam_hq_vit_b.pth",
        digest="md5:c6b8953247bcfdc8bb8ef91e36a6cacc",
        parameters=94_806_576,
        aliases=("syscv-community/sam-hq-vit-base",),
    ),
    Model(
        name="sam-hq-vit-l",
        kind="sam-hq",
        width=1024,
        depth=24,
        summary="SAM-HQ with ViT-L: finer outlines, one mask a prompt",
        weights=f"{_HQ}/sam_hq_vit_l.pth",
        digest="md5:08947267966e4264fb39523eccc33f86",
        parameters=313_676_080,
        aliases=("syscv-community/sam-hq-vit-large",),
    ),
    Model(
        name="sam-hq-vit-h",
        kind="sam-hq",
        width=1280,
        depth=32,
        summary="SAM-HQ with ViT-H: finer outlines, one mask a prompt",
        weights=f"{_HQ}/sam_hq_vit_h.pth",
        digest="sha256:a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35",
        parameters=642_686_000,
        aliases=("syscv-community/sam-hq-vit-huge",),
    ),
    Model(
        name="sam-hq-vit-tiny",
        kind="sam-hq-tiny",
        width=320,
        depth=2,
        summary="Light HQ-SAM: MobileSAM's encoder, SAM-HQ's decoder",
        weights=f"{_HQ}/sam_hq_vit_tiny.pth",
        digest="sha256:0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196",
        parameters=10_578_604,
        aliases=("sam-hq-tiny",),
    ),
    Model(
        name="mobile-sam",
        kind="mobile-sam",
        width=320,
        depth=2,
        summary="SAM's decoder on a small TinyViT encoder",
        weights="https://github.com/ChaoningZhang/MobileSAM/raw/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/mobile_sam.pt",
        digest="sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        parameters=10_130_092,
        aliases=("mobile_sam",),
    ),
    Model(
        name="efficient-sam-ti",
        kind="efficient-sam",
        width=192,
        depth=12,
        summary="EfficientSAM with ViT-Ti",
        weights=f"{_EFFICIENT}/efficient_sam_vitt.pt",
        digest="git:af883c49e33c68f01107be52df0ecad26a48355f",
        parameters=10_223_204,
        aliases=("efficient_sam_vitt",),
    ),
    Model(
        name="efficient-sam-s",
        kind="efficient-sam",
        width=384,
        depth=12,
        summary="EfficientSAM with ViT-S",
        weights=f"{_EFFICIENT}/efficient_sam_vits.pt.zip",
        digest="git:fa4e9f05f753e109dbde052f97d37903b833cf53",
        parameters=26_413_028,
        aliases=("efficient_sam_vits",),
    ),
)


def detect(shapes: Mapping[str, Shape]) -> Detected | None:
    """The model whose tensors, under Meta's names, have these shapes."""
    kind = _kind(shapes)
    if kind is None:
        return None
    width = shapes["image_encoder.neck.0.weight"][1]
    blocks = "image_encoder.layers.3.blocks." if kind in ("mobile-sam", "sam-hq-tiny") else "image_encoder.blocks."
    depth = len({name[len(blocks) :].partition(".")[0] for name in shapes if name.startswith(blocks)})
    for model in MODELS:
        if (model.kind, model.width, model.depth) == (kind, width, depth):
            return Detected(model.name, (model.name,))
    return Detected(f"a {_KINDS[kind]} with an encoder of {width} channels and {depth} blocks")


def _kind(shapes: Mapping[str, Shape]) -> Kind | None:
    fine = "mask_decoder.hf_token.weight" in shapes
    if "image_encoder.neck.0.weight" not in shapes or "mask_decoder.iou_token.weight" not in shapes:
        return None
    if "prompt_encoder.bbox_top_left_embeddings.weight" in shapes:
        return "efficient-sam"
    if "image_encoder.patch_embed.seq.0.c.weight" in shapes:
        return "sam-hq-tiny" if fine else "mobile-sam"
    if "image_encoder.blocks.0.attn.rel_pos_h" in shapes:
        return "sam-hq" if fine else "sam"
    return None


def build_sam(kind: Kind, state: StateDict, image_size: int = 1024) -> SamComponents:
    """The networks of one kind of model, from its weights under Meta's names.

    Args:
        image_size: side of the encoder's square, where the weights leave it open.
    """
    from samovar_plugins.sam.efficient import build_efficient
    from samovar_plugins.sam.hq import HqDecoder, HqEncoder
    from samovar_plugins.sam.tiny_vit import TinyVit
    from samovar_plugins.sam.vit import Vit
    from samovar_plugins.toolkit import SamComponents

    if kind == "efficient-sam":
        return build_efficient(state, image_size)
    image, fine = state.at("image_encoder"), kind in ("sam-hq", "sam-hq-tiny")
    encoder: Encoder = Vit(image, early=fine) if kind in ("sam", "sam-hq") else TinyVit(image, image_size, early=fine)
    if fine:
        return SamComponents.around(HqEncoder(encoder, state.at("mask_decoder")), state, decoder=HqDecoder)
    return SamComponents.around(encoder, state)


def _build(weights: Weights) -> SamComponents:
    return build_sam(next(model.kind for model in MODELS if model.name == weights.name), weights.state)


FAMILY = Family(
    specs=[model.spec for model in MODELS],
    detect=detect,
    build=_build,
    convert=convert_state_dict,
    # TinyViT's head as a classifier, and what training counts or can be worked out.
    beside=[r"image_encoder\.(norm_head|head)\.", r".*\.(num_batches_tracked|attention_bias_idxs)$"],
    digests={model.name: model.digest for model in MODELS},
)


@hookimpl
def register_segmenters() -> Iterable[SegmenterSpec]:
    """SAM, SAM-HQ, MobileSAM and EfficientSAM."""
    return FAMILY.specs


@hookimpl
def identify_weights(path: Path) -> str | None:
    """Which of them a checkpoint file or folder is for, by the names and shapes of its tensors."""
    return FAMILY.identify(path)
