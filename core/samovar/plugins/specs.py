"""What a plugin registers: cheap frozen descriptions that name an import target as a string.

A spec is made, listed and compared without importing the thing it describes, so listing every model imports no model
library. Each is validated once, when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from samovar.deprecation import renamed_keywords, warn_renamed
from samovar.errors import PluginError
from samovar.plugins.checks import (
    Spec,
    aliases,
    check_common,
    check_count,
    check_suffix,
    check_text,
    devices,
    kinds,
    strings,
)
from samovar.types import Kind

__all__ = [
    "CacheTierSpec",
    "InpainterSpec",
    "MaskSinkSpec",
    "PromptSourceSpec",
    "SegmenterSpec",
    "Spec",
    "TrackerSpec",
]


@dataclass(frozen=True)
class SegmenterSpec:
    """A model that can be loaded by name.

    Attributes:
        name: what people type: lower-case letters and digits, joined by ".", "-" or "_".
        target: "package.module:callable", imported when the model is loaded and called as
            `target(name, *, weights, device, dtype) -> Segmenter`: `weights` a path, a hub id or None for the spec's
            own, `device` "cpu", "cuda", "cuda:1" or "mps", `dtype` "auto", "float32", "bfloat16" …
        prompts: the kinds of prompt it takes, of "points", "box", "mask", "text", "exemplar".
        summary: one line for listings.
        licence: of the weights, as an SPDX name where there is one: what may be done with the model.
        weights: where the weights come from (a hub id or URL); None when they ship in the package or there are none.
        extra: what must be installed for it: "sam" for `samovar[sam]`, or another distribution's, "samovar-foo[gpu]".
        aliases: other names; may also be a hub id, "owner/name".
        gated: whether the weights must be asked for before they can be downloaded.
        parameters: how many the model has.
        embedding_bytes: size of one image's embedding, about.
        devices: where it runs, of "cpu", "cuda", "mps".

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    prompts: frozenset[Kind]
    summary: str
    licence: str
    weights: str | None = None
    extra: str | None = None
    aliases: tuple[str, ...] = ()
    gated: bool = False
    parameters: int | None = None
    embedding_bytes: int | None = None
    devices: tuple[str, ...] = ("cpu",)

    noun: ClassVar[str] = "model"
    hook: ClassVar[str] = "register_segmenters"

    if TYPE_CHECKING:  # any iterable may be given; the attributes are what validation made of it

        def __init__(
            self,
            name: str,
            target: str,
            prompts: Iterable[Kind],
            summary: str,
            licence: str,
            weights: str | None = None,
            extra: str | None = None,
            aliases: Iterable[str] = (),
            gated: bool = False,
            parameters: int | None = None,
            embedding_bytes: int | None = None,
            devices: Iterable[str] = ("cpu",),
        ) -> None: ...

    def __post_init__(self) -> None:
        check_common(self)
        _put(self, "prompts", kinds(self, "prompts", self.prompts))
        check_text(self, "licence", self.licence)
        _put(self, "aliases", aliases(self, self.aliases))
        _put(self, "devices", devices(self, self.devices))
        check_count(self, "parameters", self.parameters)
        check_count(self, "embedding_bytes", self.embedding_bytes)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


@dataclass(frozen=True)
class PromptSourceSpec:
    """Something that looks at images and says what to segment.

    Attributes:
        name: what people type after `--source`.
        target: "package.module:callable", called as `target(argument) -> PromptSource`; `argument` is the text after
            "=" in `--source name=argument`, or None.
        summary: one line for listings.
        produces: the kinds of prompt it answers with.
        converts: the kinds of prompt that it turns into those for a segmenter that lacks them (text → box, say).
        extra: what must be installed for it, as in `SegmenterSpec`.
        licence: of the weights or data it uses, if any.
        argument: what the argument is, for listings, such as "FILE.json", in brackets where it may be left out
            ("[FILE.json]"); None when it takes none.

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    summary: str
    produces: frozenset[Kind]
    converts: frozenset[Kind] = frozenset()
    extra: str | None = None
    licence: str | None = None
    argument: str | None = None

    noun: ClassVar[str] = "prompt source"
    hook: ClassVar[str] = "register_prompt_sources"

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            target: str,
            summary: str,
            produces: Iterable[Kind],
            converts: Iterable[Kind] = (),
            extra: str | None = None,
            licence: str | None = None,
            argument: str | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        check_common(self)
        _put(self, "produces", kinds(self, "produces", self.produces))
        _put(self, "converts", kinds(self, "converts", self.converts, at_least=0))
        check_text(self, "licence", self.licence, optional=True)
        check_text(self, "argument", self.argument, optional=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Its only name."""
        return (self.name,)

    @property
    def gives(self) -> frozenset[Kind]:
        """Deprecated: `produces`."""
        warn_renamed("PromptSourceSpec.gives", "PromptSourceSpec.produces")
        return self.produces

    @property
    def lowers(self) -> frozenset[Kind]:
        """Deprecated: `converts`."""
        warn_renamed("PromptSourceSpec.lowers", "PromptSourceSpec.converts")
        return self.converts


if not TYPE_CHECKING:
    PromptSourceSpec.__init__ = renamed_keywords(gives="produces", lowers="converts")(PromptSourceSpec.__init__)


@dataclass(frozen=True)
class MaskSinkSpec:
    """Something that keeps masks: a file format, an editor, a pipeline.

    Attributes:
        name: what people type after `--sink` and `--format`.
        target: "package.module:callable", called as `target(path) -> MaskSink`.
        summary: one line for listings.
        suffix: of the file that `path` names, such as ".json"; "" when `path` is a folder.
        item_suffix: of the one file that it writes for an image into that folder, such as ".png"; a `path` that ends in
            it then names the file of a single image. None when it writes several files an image.
        extra: what must be installed for it, as in `SegmenterSpec`.

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    summary: str
    suffix: str
    item_suffix: str | None = None
    extra: str | None = None

    noun: ClassVar[str] = "mask sink"
    hook: ClassVar[str] = "register_mask_sinks"

    def __post_init__(self) -> None:
        check_common(self)
        check_suffix(self, "suffix", self.suffix)
        if self.item_suffix is not None:
            check_suffix(self, "item_suffix", self.item_suffix)
            if self.suffix:
                raise PluginError(
                    f"{self.noun} {self.name!r}: item_suffix is for a sink whose path is a folder; drop it"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Its only name."""
        return (self.name,)


@dataclass(frozen=True)
class CacheTierSpec:
    """A place where embeddings are kept.

    Attributes:
        name: what people type in a cache description.
        target: "package.module:callable", called as `target(argument) -> CacheTier`; `argument` is the text after "="
            in `name=argument` (a folder, a URL), or None.
        summary: one line for listings.
        extra: what must be installed for it, as in `SegmenterSpec`.
        argument: what the argument is, such as "FOLDER", as in `PromptSourceSpec`.

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    summary: str
    extra: str | None = None
    argument: str | None = None

    noun: ClassVar[str] = "cache tier"
    hook: ClassVar[str] = "register_cache_tiers"

    def __post_init__(self) -> None:
        check_common(self)
        check_text(self, "argument", self.argument, optional=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Its only name."""
        return (self.name,)


@dataclass(frozen=True)
class TrackerSpec:
    """Something that follows objects through a video, for any segmenter.

    A segmenter's own tracker needs no spec: see `samovar.tracking.VideoSegmenter`.

    Attributes:
        name: what people type after `--engine`.
        target: "package.module:callable", called as `target(runtime, *, source) -> Tracker`: `runtime` the
            `samovar.Runtime` that answers its prompts, `source` a `PromptSource` or None.
        summary: one line for listings.
        needs_source: whether it follows what a prompt source finds in every frame; else `source` is None.
        extra: what must be installed for it, as in `SegmenterSpec`.

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    summary: str
    needs_source: bool = False
    extra: str | None = None

    noun: ClassVar[str] = "tracker"
    hook: ClassVar[str] = "register_trackers"

    def __post_init__(self) -> None:
        check_common(self)

    @property
    def names(self) -> tuple[str, ...]:
        """Its only name."""
        return (self.name,)


@dataclass(frozen=True)
class InpainterSpec:
    """Something that fills masked pixels.

    Attributes:
        name: what people type after `--method`.
        target: "package.module:callable", called as `target(argument, **options) -> Inpainter`; `argument` is the text
            after "=" in `--method name=argument`, or None.
        summary: one line for listings.
        options: the names of the keyword options that the target takes, such as "prompt", "seed" or "device"; it is
            given no others, and of these only those that were set.
        extra: what must be installed for it, as in `SegmenterSpec`.
        argument: what the argument is, such as "PATH|ID", as in `PromptSourceSpec`.

    Raises:
        PluginError: a field that is not as above.
    """

    name: str
    target: str
    summary: str
    options: tuple[str, ...] = ()
    extra: str | None = None
    argument: str | None = None

    noun: ClassVar[str] = "inpainter"
    hook: ClassVar[str] = "register_inpainters"

    def __post_init__(self) -> None:
        check_common(self)
        _put(self, "options", strings(self, "options", self.options))
        check_text(self, "argument", self.argument, optional=True)

    @property
    def names(self) -> tuple[str, ...]:
        """Its only name."""
        return (self.name,)


def _put(spec: object, field: str, value: object) -> None:
    object.__setattr__(spec, field, value)
