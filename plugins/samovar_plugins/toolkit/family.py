"""`Family`: models that share a loader; as in spandrel, an architecture is one object with `detect` and `load`.

A family says what its models are called, how their checkpoints are recognised, and how networks are made of tensors.
The rest is the same for all and is done here: weights are found or downloaded, read without running anything in them,
checked, moved to their device and dtype, and fingerprinted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar.errors import DeviceError, PluginError, WeightsError
from samovar.fingerprint import Fingerprint

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from samovar.plugins import SegmenterSpec
    from samovar.protocols import Segmenter
    from samovar_plugins.toolkit.checkpoint import CheckpointHeader, Shape
    from samovar_plugins.toolkit.layers import StateDict
    from samovar_plugins.toolkit.resize import Resize
    from samovar_plugins.toolkit.segmenter import SamComponents

__all__ = ["Detected", "Family", "Weights", "assemble"]

VERSION = 2
"""Raised when the same weights would give other embeddings than before."""

_CONFIG = "preprocessor_config.json"


@dataclass(frozen=True)
class Detected:
    """What a checkpoint's shapes say.

    Attributes:
        words: what to call it in a message.
        names: of the models that it may be for, the likeliest first; none where it is of no known size.
    """

    words: str
    names: tuple[str, ...] = ()


@dataclass
class Weights:
    """What a model is built of.

    Attributes:
        name: of the model.
        state: its tensors, under the names that `Family.convert` gave them.
        path: the file or folder that they are from.
        device, dtype: where the model is to run, and in what.
        reload: the tensors once more, under the file's own names, for parts that are made later.
        digests: of each tensor, by its name in `state`.
        preprocessing: what the folder's preprocessor_config.json says, if it has one.
    """

    name: str
    state: StateDict
    path: Path
    device: str
    dtype: torch.dtype
    reload: Callable[..., dict[str, Tensor]]
    digests: Mapping[str, bytes] = field(repr=False)
    preprocessing: Mapping[str, Any]
    marked: set[str] | None = None

    def resize(self, default: Resize) -> Resize:
        """`default`, with what the folder's preprocessor_config.json says otherwise.

        Raises WeightsError for what cannot be done: embeddings would be silently wrong.
        """
        from samovar_plugins.toolkit.resize import configured

        if not self.preprocessing:
            return default
        try:
            return configured(default, self.preprocessing, str(self.path))
        except (TypeError, ValueError) as error:
            raise WeightsError(f"{self.path}: {_CONFIG} is not as expected ({error}); get it again") from error

    def fingerprint(self, *config: object) -> Fingerprint:
        """Of a model that is built by now: the encoder's part of what was taken otherwise than `StateDict.decoding`.

        Args:
            config: whatever else embeddings depend on, by its `repr`; how images are resized, first of all.
        """
        from samovar_plugins.toolkit.fingerprints import combined

        for one in config:
            if type(one).__repr__ is object.__repr__:
                raise PluginError(
                    f"expected a {type(one).__name__} whose repr tells all of it; make it a frozen dataclass"
                )
        self.marked = set(self.state.taken[False])
        encoder = {name: digest for name, digest in self.digests.items() if name in self.marked}
        rest = {name: digest for name, digest in self.digests.items() if name not in self.marked}
        kind = f"{str(self.dtype).removeprefix('torch.')}-{VERSION}"
        return Fingerprint(
            f"{self.name}-{combined(encoder, *config)}-{kind}", f"{self.name}-{combined(rest, *config)}-{kind}"
        )


Build = Callable[[Weights], "SamComponents | Segmenter"]
"""What SAM's segmenter is made of, or a segmenter of its own with `Weights.fingerprint`."""


@dataclass(frozen=True)
class Family:
    """Models that are recognised and built alike.

    A plugin's module makes one, returns its `specs` from the hook `register_segmenters`, and `identify(path)` from
    `identify_weights`. The target of each spec is its `load`: "my_package.plugin:FAMILY.load". Nothing here imports
    torch before `load` is called, and no more may the module.

    Attributes:
        specs: of the models.
        detect: from the shapes of a checkpoint's tensors, under the names that `convert` gives, to what it looks like;
            None where it is of no model of this family. A plain string is the name of the one model that it is for.
        build: makes the networks. Raises WeightsError, or what torch raises, for tensors that do not fit together.
        convert: from the names that a checkpoint may have to those that `detect` and `build` ask for.
        beside: regular expressions of the names, from their beginning, of tensors that models have and images do not
            need: any other that is not taken by `build` is refused.
        digests: of the published weights, by the model's name: "sha256:…", "md5:…" or "git:…" (of a git blob).
    """

    specs: Sequence[SegmenterSpec]
    detect: Callable[[Mapping[str, Shape]], Detected | str | None]
    build: Build
    convert: Callable[[Mapping[str, Any]], dict[str, Any]] = dict
    beside: Sequence[str] = ()
    digests: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "specs", tuple(replace(spec, lenient=True) for spec in self.specs))

    def identify(self, path: Path) -> str | None:
        """The name of the model that a checkpoint file or folder is for, or None."""
        from samovar_plugins.toolkit.checkpoint import read_header  # late: every `samovar --help` reads this module

        try:
            _, found = self._recognised(read_header(path))
        except WeightsError:
            return None
        return found.names[0] if found and found.names else None

    def load(self, name: str, *, weights: str | None, device: str, dtype: str, strict: bool = True) -> Segmenter:
        """The model `name`, ready on `device`.

        Args:
            name: of one of the specs.
            weights: a file, folder, hub id or URL; None for the published weights, downloaded on first use.
            device: "cpu", "cuda" or "cuda:1".
            dtype: "auto", "float32", "bfloat16" or "float16".
            strict: refuse weights with tensors that the architecture does not know.

        Raises:
            WeightsError: weights that are missing, torn, unsafe, of another architecture, or not known in part.
            DeviceError: a dtype that the device cannot use, or a device that is not there.
            ModuleNotFoundError: torch, or another library of the model, is not installed.
        """
        from samovar_plugins.toolkit.checkpoint import files_of, load_tensors
        from samovar_plugins.toolkit.fingerprints import tensor_digests
        from samovar_plugins.toolkit.weights import locate

        spec = next(spec for spec in self.specs if spec.name == name)
        chosen = _chosen(dtype, device)
        if weights is None and spec.weights is None:
            raise WeightsError(f"model {name!r} has no published weights; pass weights=FILE")
        gated = f"https://huggingface.co/{spec.weights}" if spec.gated else None
        path = locate(weights, spec.weights or "", self.digests.get(name), gated=gated)
        header = self._checked(path, name)
        reload = partial(load_tensors, path, header)
        tensors, digests = tensor_digests(files_of(path), lambda: self.convert(reload()))
        return assemble(
            name,
            self.build,
            tensors,
            device=device,
            dtype=chosen,
            path=path,
            digests=digests,
            reload=reload,
            known=self.beside if strict else None,
        )

    def _recognised(self, header: CheckpointHeader) -> tuple[CheckpointHeader, Detected | None]:
        """The header without what trainers put around names, if that is how this family knows it; and as what."""
        for plain in header.unwrapped():
            found = self.detect(self.convert(plain.shapes))
            if found is not None:
                return plain, Detected(found, (found,)) if isinstance(found, str) else found
        return header, None

    def _checked(self, path: Path, name: str) -> CheckpointHeader:
        """Raise WeightsError unless a checkpoint is whole, safe, and of the model `name`."""
        from samovar_plugins.toolkit.checkpoint import read_header

        header, found = self._recognised(read_header(path))
        words = found.words if found else _stranger(header.shapes)
        if header.foreign:
            raise WeightsError(
                f"{path} would run {header.foreign[0]} when loaded; expected tensors only; do not load it, or get it "
                "as .safetensors"
            )
        if header.missing:
            raise WeightsError(f"{path} is torn: {header.missing}; it looks like {words}; download it again")
        if found is None or name not in found.names:
            from samovar.plugins import identify_weights

            other = found.names[0] if found and found.names else None if found else identify_weights(path)
            hint = f"load it as {other!r}" if other else "name the model that it is for"
            raise WeightsError(f"{path} looks like {other or words}; expected weights of {name}; {hint}")
        return header


def assemble(
    name: str,
    build: Build,
    tensors: Mapping[str, Tensor],
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    path: Path = Path("weights"),
    digests: Mapping[str, bytes] | None = None,
    reload: Callable[..., dict[str, Tensor]] | None = None,
    known: Sequence[str] | None = None,
) -> Segmenter:
    """A segmenter of tensors in memory.

    Args:
        name: of the model; see `Weights` for the rest.
        build: see `Family`.
        dtype: by default float32.
        known: regular expressions of the names of tensors that may be left; None for any.

    Raises WeightsError for tensors that are missing, do not fit together, or are not known.
    """
    import torch

    from samovar_plugins.toolkit.fingerprints import digests_of
    from samovar_plugins.toolkit.layers import StateDict
    from samovar_plugins.toolkit.segmenter import SamComponents, SamSegmenter, SamVideoSegmenter

    dtype = dtype or torch.float32
    state = StateDict(tensors, device, dtype)
    weights = Weights(
        name,
        state,
        path,
        device,
        dtype,
        reload or (lambda: dict(tensors)),
        digests or digests_of(tensors),
        _config(path),
    )
    with _building():
        made = build(weights)
    if isinstance(made, SamComponents):
        resize = weights.resize(made.resize)
        kind = SamSegmenter if made.tracker is None else SamVideoSegmenter
        components, mark = replace(made, resize=resize), weights.fingerprint(resize)
        made = kind(components, fingerprint=mark, device=device, dtype=dtype)
    if weights.marked != state.taken[False]:
        raise PluginError(f"{name} took tensors after its fingerprint was made; call Weights.fingerprint last")
    if known is not None:
        _refuse_unknown(name, path, tensors.keys() - state.taken[False] - state.taken[True], known)
    return made


@contextmanager
def _building() -> Iterator[None]:
    """While networks are built of tensors: those that do not fit together raise WeightsError."""
    import torch

    try:
        with torch.inference_mode():
            yield
    except (RuntimeError, IndexError, ValueError) as error:
        raise WeightsError(
            f"expected tensors that fit together; got others ({str(error).splitlines()[0]:.100}); "
            "download the weights again"
        ) from error


def _refuse_unknown(name: str, path: Path, left: Set[str], known: Sequence[str]) -> None:
    """Raise WeightsError for tensors that nothing has asked for: what was trained in them would silently be missing."""
    unknown = sorted(one for one in left if not any(re.match(expression, one) for expression in known))
    if unknown:
        few = ", ".join(unknown[:2]) + (" …" if len(unknown) > 2 else "")
        raise WeightsError(
            f"{path} has {len(unknown)} tensors that {name} does not know ({few}); "
            "was it fine-tuned with parts of its own? load it with strict=False to leave them out"
        )


def _config(path: Path) -> Mapping[str, Any]:
    """What the preprocessor_config.json in or beside `path` says; nothing where there is none."""
    file = (path if path.is_dir() else path.parent) / _CONFIG
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    except (OSError, ValueError):
        pass
    raise WeightsError(f"{file} is no JSON object; download it again")


def _chosen(dtype: str, device: str) -> torch.dtype:
    """The torch dtype for one by name: "auto" is float32 on a CPU and bfloat16 elsewhere. Raises DeviceError."""
    import torch

    if device.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"device {device!r} is not on this machine; use --device cpu")
    on_cpu = device == "cpu"
    if dtype == "float16" and on_cpu:
        raise DeviceError(
            "float16 is not usable on a CPU (minutes an image); expected float32 or bfloat16; use --dtype auto"
        )
    if dtype == "auto":
        return torch.float32 if on_cpu else torch.bfloat16
    chosen: torch.dtype = getattr(torch, dtype)
    return chosen


def _stranger(shapes: Mapping[str, Shape]) -> str:
    """What to call a checkpoint that is of no known architecture."""
    for mark, words in (
        ("detector_model.", "a SAM 3"),
        ("detector.", "a SAM 3"),
        ("spatial_perceiver.", "an EdgeTAM"),
        ("image_encoder.trunk.body.", "an EdgeTAM"),
        ("image_encoder.trunk.", "a SAM 2"),
        ("vision_encoder.backbone.", "a SAM 2 of Hugging Face"),
        ("memory_encoder.", "a SAM 2"),
        ("image_encoder.blocks.0.attn.rel_pos_h", "a SAM"),
        ("unet.", "a diffusion model"),
        ("backbone.", "a detector"),
        ("text_model.", "a text encoder"),
    ):
        if any(name.startswith(mark) for name in shapes):
            return f"{words} checkpoint"
    few = ", ".join(list(shapes)[:2])
    return f"an unknown architecture ({few} …)" if few else "no tensors"
