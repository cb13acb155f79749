"""The models of this family: what each is, where its weights come from, and how its checkpoint is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from samovar.plugins import SegmenterSpec
from samovar_plugins.sam.checkpoint import Shape
from samovar_plugins.weights import Source

__all__ = ["MODELS", "Family", "Model", "recognise", "specs"]

Family = Literal["sam", "sam-hq", "mobile-sam", "sam-hq-tiny", "efficient-sam"]

_FAMILIES: dict[str, str] = {
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
        family: which networks it is made of.
        width, depth: channels and blocks of its encoder; they tell models of a family apart.
        summary: one line for listings.
        source: where its weights come from.
        parameters: how many.
        embedding_bytes: of one image, in float32.
        aliases: other names; a hub id among them loads Hugging Face's version of the weights.
    """

    name: str
    family: Family
    width: int
    depth: int
    summary: str
    source: Source
    parameters: int
    embedding_bytes: int
    aliases: tuple[str, ...] = ()

    @property
    def spec(self) -> SegmenterSpec:
        """As plugins register it."""
        masks = self.family != "efficient-sam"
        return SegmenterSpec(
            name=self.name,
            target="samovar_plugins.sam.loading:load_sam",
            prompts=("points", "box", "mask") if masks else ("points", "box"),
            summary=self.summary,
            licence="Apache-2.0",
            weights=self.source.url,
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
        family="sam",
        width=768,
        depth=12,
        summary="SAM with its smallest encoder, ViT-B",
        source=Source(
            f"{_META}/sam_vit_b_01ec64.pth", "sha256:ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912"
        ),
        parameters=93_735_472,
        embedding_bytes=4 << 20,
        aliases=("facebook/sam-vit-base", "sam_vit_b"),
    ),
    Model(
        name="sam-vit-l",
        family="sam",
        width=1024,
        depth=24,
        summary="SAM with ViT-L",
        source=Source(
            f"{_META}/sam_vit_l_0b3195.pth", "sha256:3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622"
        ),
        parameters=312_342_832,
        embedding_bytes=4 << 20,
        aliases=("facebook/sam-vit-large", "sam_vit_l"),
    ),
    Model(
        name="sam-vit-h",
        family="sam",
        width=1280,
        depth=32,
        summary="SAM with its largest and best encoder, ViT-H",
        source=Source(
            f"{_META}/sam_vit_h_4b8939.pth", "sha256:a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
        ),
        parameters=641_090_608,
        embedding_bytes=4 << 20,
        aliases=("facebook/sam-vit-huge", "sam_vit_h"),
    ),
    Model(
        name="sam-hq-vit-b",
        family="sam-hq",
        width=768,
        depth=12,
        summary="SAM-HQ with ViT-B: finer outlines, one mask a prompt",
        source=Source(f"{_HQ}/sam_hq_vit_b.pth", "md5:c6b8953247bcfdc8bb8ef91e36a6cacc"),
        parameters=94_806_576,
        embedding_bytes=12 << 20,
        aliases=("syscv-community/sam-hq-vit-base",),
    ),
    Model(
        name="sam-hq-vit-l",
        family="sam-hq",
        width=1024,
        depth=24,
        summary="SAM-HQ with ViT-L: finer outlines, one mask a prompt",
        source=Source(f"{_HQ}/sam_hq_vit_l.pth", "md5:08947267966e4264fb39523eccc33f86"),
        parameters=313_676_080,
        embedding_bytes=12 << 20,
        aliases=("syscv-community/sam-hq-vit-large",),
    ),
    Model(
        name="sam-hq-vit-h",
        family="sam-hq",
        width=1280,
        depth=32,
        summary="SAM-HQ with ViT-H: finer outlines, one mask a prompt",
        source=Source(
            f"{_HQ}/sam_hq_vit_h.pth", "sha256:a7ac14a085326d9fa6199c8c698c4f0e7280afdbb974d2c4660ec60877b45e35"
        ),
        parameters=642_686_000,
        embedding_bytes=12 << 20,
        aliases=("syscv-community/sam-hq-vit-huge",),
    ),
    Model(
        name="sam-hq-vit-tiny",
        family="sam-hq-tiny",
        width=320,
        depth=2,
        summary="Light HQ-SAM: MobileSAM's encoder, SAM-HQ's decoder",
        source=Source(
            f"{_HQ}/sam_hq_vit_tiny.pth", "sha256:0f32c075ccdd870ae54db2f7630e7a0878ede5a2b06d05d6fe02c65a82fb7196"
        ),
        parameters=10_578_604,
        embedding_bytes=12 << 20,
        aliases=("sam-hq-tiny",),
    ),
    Model(
        name="mobile-sam",
        family="mobile-sam",
        width=320,
        depth=2,
        summary="SAM's decoder on a small TinyViT encoder",
        source=Source(
            "https://github.com/ChaoningZhang/MobileSAM/raw/34bbbfdface3c18e5221aa7de6032d7220c6c6a1/weights/mobile_sam.pt",
            "sha256:6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        ),
        parameters=10_130_092,
        embedding_bytes=4 << 20,
        aliases=("mobile_sam",),
    ),
    Model(
        name="efficient-sam-ti",
        family="efficient-sam",
        width=192,
        depth=12,
        summary="EfficientSAM with ViT-Ti",
        source=Source(f"{_EFFICIENT}/efficient_sam_vitt.pt", "git:af883c49e33c68f01107be52df0ecad26a48355f"),
        parameters=10_223_204,
        embedding_bytes=4 << 20,
        aliases=("efficient_sam_vitt",),
    ),
    Model(
        name="efficient-sam-s",
        family="efficient-sam",
        width=384,
        depth=12,
        summary="EfficientSAM with ViT-S",
        source=Source(f"{_EFFICIENT}/efficient_sam_vits.pt.zip", "git:fa4e9f05f753e109dbde052f97d37903b833cf53"),
        parameters=26_413_028,
        embedding_bytes=4 << 20,
        aliases=("efficient_sam_vits",),
    ),
)


def specs() -> list[SegmenterSpec]:
    """Those of all models."""
    return [model.spec for model in MODELS]


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint's shapes say.

    Attributes:
        model: the published model of that architecture, or None.
        family: its family, or None where it is none of these.
        words: what to call it in a message.
    """

    model: Model | None
    family: Family | None
    words: str


def recognise(shapes: Mapping[str, Shape]) -> Architecture:
    """The architecture whose tensors, under Meta's names, have these shapes."""
    family = _family(shapes)
    if family is None:
        return Architecture(None, None, _stranger(shapes))
    width = shapes["image_encoder.neck.0.weight"][1]
    depth = _count(
        shapes, "image_encoder.layers.3.blocks." if "tiny" in family or "mobile" in family else "image_encoder.blocks."
    )
    for model in MODELS:
        if (model.family, model.width, model.depth) == (family, width, depth):
            return Architecture(model, family, model.name)
    words = f"a {_FAMILIES[family]} with an encoder of {width} channels and {depth} blocks"
    return Architecture(None, family, words)


def _family(shapes: Mapping[str, Shape]) -> Family | None:
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


def _stranger(shapes: Mapping[str, Shape]) -> str:
    """What to call a checkpoint that is none of these."""
    for mark, words in (
        ("detector_model.", "a SAM 3"),
        ("detector.", "a SAM 3"),
        ("spatial_perceiver.", "an EdgeTAM"),
        ("image_encoder.trunk.body.", "an EdgeTAM"),
        ("image_encoder.trunk.", "a SAM 2"),
        ("vision_encoder.backbone.", "a SAM 2 of Hugging Face"),
        ("memory_encoder.", "a SAM 2"),
        ("unet.", "a diffusion model"),
        ("backbone.", "a detector"),
        ("text_model.", "a text encoder"),
    ):
        if any(name.startswith(mark) for name in shapes):
            return f"{words} checkpoint"
    few = ", ".join(list(shapes)[:2])
    return f"an unknown architecture ({few} …)" if few else "no tensors"


def _count(shapes: Mapping[str, Shape], prefix: str) -> int:
    return len({name[len(prefix) :].partition(".")[0] for name in shapes if name.startswith(prefix)})
