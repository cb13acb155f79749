"""SAM 2's models: what each is, where its weights come from, and how its checkpoint is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from samovar.plugins import SegmenterSpec
from samovar_plugins.sam.catalogue import recognise as recognise_sam
from samovar_plugins.sam.checkpoint import Shape
from samovar_plugins.sam.names import canonical as canonical_sam
from samovar_plugins.sam2.layout import Layout
from samovar_plugins.weights import Source

__all__ = ["MODELS", "Architecture", "Model", "recognise", "specs"]


@dataclass(frozen=True)
class Model:
    """One published model.

    Attributes:
        name: what people type.
        width: channels of its encoder's first stage; with the depth of `layout` they tell sizes apart.
        layout: what the weights of its encoder leave open.
        later: whether it is of SAM 2.1, whose video part has weights that SAM 2's lacks.
        summary: one line for listings.
        source: where its weights come from.
        parameters: how many, those for video included.
        aliases: other names.
    """

    name: str
    width: int
    layout: Layout
    later: bool
    summary: str
    source: Source
    parameters: int
    aliases: tuple[str, ...] = ()

    @property
    def spec(self) -> SegmenterSpec:
        """As plugins register it."""
        return SegmenterSpec(
            name=self.name,
            target="samovar_plugins.sam2.loading:load_sam2",
            prompts=("points", "box", "mask"),
            summary=self.summary,
            licence="Apache-2.0",
            weights=self.source.url,
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
            source=Source(f"{_META}/{date}/{version}_hiera_{file}.pt", f"sha256:{digest}"),
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


def specs() -> list[SegmenterSpec]:
    """Those of all models."""
    return [model.spec for model in MODELS]


@dataclass(frozen=True)
class Architecture:
    """What a checkpoint's shapes say.

    Attributes:
        model: the published model of that architecture, or None.
        words: what to call it in a message.
    """

    model: Model | None
    words: str


_TRUNK = "image_encoder.trunk."


def recognise(shapes: Mapping[str, Shape], wanted: Model | None = None) -> Architecture:
    """The architecture whose tensors, under Meta's names, have these shapes.

    Files for images alone lack the part that tells SAM 2.1 from SAM 2: they are `wanted` if it fits, else SAM 2.1.
    """
    if f"{_TRUNK}pos_embed_window" not in shapes or "sam_mask_decoder.iou_token.weight" not in shapes:
        return Architecture(None, recognise_sam(canonical_sam(shapes)).words)
    width = shapes[f"{_TRUNK}pos_embed_window"][1]
    blocks = {name[len(_TRUNK) :].split(".")[1] for name in shapes if name.startswith(f"{_TRUNK}blocks.")}
    video = any(name.startswith("memory_encoder.") for name in shapes)
    later = "no_obj_embed_spatial" in shapes if video else (wanted is None or wanted.later)
    for model in MODELS:
        if (model.width, model.layout.depth, model.later) == (width, len(blocks), later):
            return Architecture(model, model.name)
    version = "2.1" if later else "2"
    return Architecture(None, f"a SAM {version} with an encoder of {width} channels and {len(blocks)} blocks")
