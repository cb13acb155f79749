"""What a plugin registers: cheap frozen descriptions that name an import target as a string.

A spec is made, listed and compared without importing the thing it describes, so listing every model imports no model
library. Each is validated once, when it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from samovar.deprecation import renamed_keywords, warn_renamed
from samovar.errors import PluginError
from samovar.types import KINDS, Kind

if TYPE_CHECKING:
    from samovar.inpainting import Inpainter
    from samovar.protocols import MaskSink, PromptSource, Segmenter
    from samovar.tracking import Tracker

__all__ = [
    "CacheTierSpec",
    "InpainterSpec",
    "MaskSinkSpec",
    "PromptSourceSpec",
    "SegmenterSpec",
    "Spec",
    "TrackerSpec",
]

F_co = TypeVar("F_co", covariant=True)

_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ALIAS = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:/[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*)?")
_TARGET = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_EXTRA = re.compile(r"[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*(?:\[[A-Za-z0-9]+(?:[._-]+[A-Za-z0-9]+)*\])?")
_SUFFIX = re.compile(r"(?:\.[A-Za-z0-9]+)*")
_DEVICES = ("cpu", "cuda", "mps")


class Spec(Generic[F_co]):
    """What all kinds of spec have in common; `F_co` is what the target must be.

    Attributes:
        name: what people type: lower-case letters and digits, joined by ".", "-" or "_".
        target: where it is: "package.module:callable".
        summary: one line for listings.
        extra: what must be installed for it: "sam" for `samovar[sam]`, or another distribution's, "samovar-foo[gpu]".

    Raises:
        PluginError: a field that is not as above, or as the kind of spec says.
    """

    noun: ClassVar[str]
    hook: ClassVar[str]
    name: str
    target: str
    summary: str
    extra: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases, if the kind has any."""
        return (self.name,)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            expected = 'lower-case letters and digits joined by ".", "-" or "_"'
            raise PluginError(f"the name of a {self.noun} must be {expected}; got {self.name!r:.60}")
        self._check_pattern("target", _TARGET, '"package.module:callable"')
        self._check_text("summary")
        if self.extra is not None:
            self._check_pattern("extra", _EXTRA, 'the name of an extra of samovar, or "distribution[extra]"')

    def _check(self, field: str, fits: bool, expected: str) -> None:
        if not fits:
            got = vars(self)[field]
            raise PluginError(f"{self.noun} {self.name!r}: {field} must be {expected}; got {got!r:.80}")

    def _check_pattern(self, field: str, pattern: re.Pattern[str], expected: str) -> None:
        value = vars(self)[field]
        self._check(field, isinstance(value, str) and pattern.fullmatch(value) is not None, expected)

    def _check_text(self, field: str, *, optional: bool = False) -> None:
        value = vars(self)[field]
        fits = isinstance(value, str) and bool(value.strip()) and "\n" not in value
        self._check(field, fits or (value is None and optional), "one line of text")

    def _take_strings(self, field: str) -> tuple[str, ...]:
        """Keep the field as a tuple; a lone string is refused, since it would be taken letter by letter."""
        value = vars(self)[field]
        items = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (None,)
        self._check(field, all(isinstance(item, str) for item in items), "a tuple of strings")
        object.__setattr__(self, field, items)
        return items

    def _take_kinds(self, field: str, *, at_least: int = 1) -> None:
        given = self._take_strings(field)
        self._check(field, len(given) >= at_least and set(given) <= set(KINDS), f"some of {', '.join(KINDS)}")
        object.__setattr__(self, field, frozenset(given))


# ------------------------------------------------------------------------------------------------------- models


class SegmenterFactory(Protocol):
    """What the target of a `SegmenterSpec` is."""

    def __call__(self, name: str, /, *, weights: str | None, device: str, dtype: str) -> Segmenter:
        """The model `name`, ready.

        Args:
            weights: a path, a hub id, or None for the spec's own.
            device: "cpu", "cuda", "cuda:1" or "mps".
            dtype: "auto", "float32", "bfloat16" …
        """


@dataclass(frozen=True)
class SegmenterSpec(Spec[SegmenterFactory]):
    """A model that can be loaded by name.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is a `SegmenterFactory`.
        prompts: the kinds of prompt it takes, of "points", "box", "mask", "text", "exemplar".
        licence: of the weights, as an SPDX name where there is one: what may be done with the model.
        weights: where the weights come from (a hub id or URL); None when they ship in the package or there are none.
        aliases: other names; may also be a hub id, "owner/name".
        gated: whether the weights must be asked for before they can be downloaded.
        parameters: how many the model has.
        embedding_bytes: size of one image's embedding, about.
        devices: where it runs, of "cpu", "cuda", "mps".
        lenient: whether the target also takes `strict=False`, for weights that the model knows only in part.
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
    lenient: bool = False

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
            lenient: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        super().__post_init__()
        self._take_kinds("prompts")
        self._check_text("licence")
        given = self._take_strings("aliases")
        fit = all(_ALIAS.fullmatch(one) and one != self.name and given.count(one) == 1 for one in given)
        self._check("aliases", fit, "other names or hub ids (owner/name), each once")
        given = self._take_strings("devices")
        self._check("devices", bool(given) and set(given) <= set(_DEVICES), f"some of {', '.join(_DEVICES)}")
        for field, count in (("parameters", self.parameters), ("embedding_bytes", self.embedding_bytes)):
            whole = isinstance(count, int) and not isinstance(count, bool) and count >= 0
            self._check(field, whole or count is None, "a whole number ≥ 0 or None")

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)


# ------------------------------------------------------------------------------------------------------ prompts


class PromptSourceFactory(Protocol):
    """What the target of a `PromptSourceSpec` is."""

    def __call__(self, argument: str | None, /) -> PromptSource:
        """The source, ready; `argument` is the text after "=" in `--source name=argument`, or None."""


@dataclass(frozen=True)
class PromptSourceSpec(Spec[PromptSourceFactory]):
    """Something that looks at images and says what to segment.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is a `PromptSourceFactory`.
        produces: the kinds of prompt it answers with.
        converts: the kinds of prompt that it turns into those for a segmenter that lacks them (text → box, say).
        licence: of the weights or data it uses, if any.
        argument: what the argument is, for listings, such as "FILE.json", in brackets where it may be left out
            ("[FILE.json]"); None when it takes none.
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
        super().__post_init__()
        self._take_kinds("produces")
        self._take_kinds("converts", at_least=0)
        self._check_text("licence", optional=True)
        self._check_text("argument", optional=True)

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


# -------------------------------------------------------------------------------------------------------- masks


class MaskSinkFactory(Protocol):
    """What the target of a `MaskSinkSpec` is."""

    def __call__(self, path: str, /) -> MaskSink:
        """A sink that writes to `path`."""


@dataclass(frozen=True)
class MaskSinkSpec(Spec[MaskSinkFactory]):
    """Something that keeps masks: a file format, an editor, a pipeline.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is a `MaskSinkFactory`.
        suffix: of the file that `path` names, such as ".json"; "" when `path` is a folder.
        item_suffix: of the one file that it writes for an image into that folder, such as ".png"; a `path` that ends in
            it then names the file of a single image. None when it writes several files an image.
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
        super().__post_init__()
        expected = 'one such as ".json", or "" for a folder'
        self._check_pattern("suffix", _SUFFIX, expected)
        if self.item_suffix is not None:
            self._check_pattern("item_suffix", _SUFFIX, expected)
            self._check("item_suffix", not self.suffix, "None: it is for a sink whose path is a folder")


# -------------------------------------------------------------------------------------------------------- cache


class CacheTierFactory(Protocol):
    """What the target of a `CacheTierSpec` is."""

    def __call__(self, argument: str | None, /) -> Any:
        """The tier, ready, a `samovar.cache.CacheTier`; `argument` is the text after "=" in `name=argument`, or None.

        Not named in the type: the cache stands beside the registry, and neither knows the other.
        """


@dataclass(frozen=True)
class CacheTierSpec(Spec[CacheTierFactory]):
    """A place where embeddings are kept.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is a `CacheTierFactory`.
        argument: what the argument is (a folder, a URL), as in `PromptSourceSpec`.
    """

    name: str
    target: str
    summary: str
    extra: str | None = None
    argument: str | None = None

    noun: ClassVar[str] = "cache tier"
    hook: ClassVar[str] = "register_cache_tiers"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_text("argument", optional=True)


# ------------------------------------------------------------------------------------------ following, inpainting


class TrackerFactory(Protocol):
    """What the target of a `TrackerSpec` is."""

    def __call__(self, runtime: Any, /, *, source: PromptSource | None = None) -> Tracker:
        """The tracker, ready, for one video.

        Args:
            runtime: the `samovar.Runtime` that answers its prompts (it stands above this module).
            source: what finds the objects in every frame, for a spec that says `needs_source`; else None.
        """


@dataclass(frozen=True)
class TrackerSpec(Spec[TrackerFactory]):
    """Something that follows objects through a video, for any segmenter.

    A segmenter's own tracker needs no spec: see `samovar.tracking.VideoSegmenter`.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is a `TrackerFactory`.
        needs_source: whether it follows what a prompt source finds in every frame.
    """

    name: str
    target: str
    summary: str
    needs_source: bool = False
    extra: str | None = None

    noun: ClassVar[str] = "tracker"
    hook: ClassVar[str] = "register_trackers"


class InpainterFactory(Protocol):
    """What the target of an `InpainterSpec` is."""

    def __call__(self, argument: str | None = None, /, **options: Any) -> Inpainter:
        """The inpainter, ready.

        Args:
            argument: the text after "=" in `--method name=argument`, or None.
            options: those that were set, among those that the spec names.
        """


@dataclass(frozen=True)
class InpainterSpec(Spec[InpainterFactory]):
    """Something that fills masked pixels.

    Attributes:
        name, target, summary, extra: as in `Spec`; the target is an `InpainterFactory`.
        options: the names of the keyword options that the target takes, such as "prompt", "seed" or "device".
        argument: what the argument is, such as "PATH|ID", as in `PromptSourceSpec`.
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
        super().__post_init__()
        self._take_strings("options")
        self._check_text("argument", optional=True)
