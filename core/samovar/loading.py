"""`load`: from a name, a checkpoint file or a hub id to a `Runtime`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samovar.deprecation import renamed_keywords
from samovar.device import choose_device
from samovar.errors import InputError, WeightsError
from samovar.plugins import find_prompt_source, find_segmenter, identify_weights, resolve
from samovar.runtime import DEFAULT_MEMORY, Runtime
from samovar.sizes import parse_bytes

if TYPE_CHECKING:
    from samovar.cache import Cache
    from samovar.plugins import SegmenterSpec
    from samovar.protocols import PromptSource

__all__ = ["load", "open_source"]

DTYPES = ("auto", "float32", "bfloat16", "float16")


@renamed_keywords(lowering="converters")
def load(
    model: str | os.PathLike[str] = "default",
    *,
    weights: str | os.PathLike[str] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    cache: Cache | str | os.PathLike[str] | None = "auto",
    memory: int | str | None = None,
    converters: Sequence[str | PromptSource] = (),
    strict: bool = True,
) -> Runtime:
    """A ready `Runtime`.

    Args:
        model: a registered name or alias (`samovar models` lists them), a hub id, or a local checkpoint file or folder
            whose architecture a plugin recognises.
        weights: a checkpoint file, folder or hub id for that model instead of its published one.
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32", "bfloat16" or "float16".
        cache: "auto" (memory and disk), "off" or None, a folder, or a `Cache`.
        memory: bytes that decoding may use ("512MB" works too); by default $SAMOVAR_MEMORY or 1 GiB.
        converters: prompt sources, or names of registered ones, for kinds of prompt that the model does not take.
        strict: refuse weights with tensors that the model does not know, as fine-tuning with parts of one's own leaves
            them; False leaves them out.

    Raises:
        UnknownNameError: no model of that name.
        MissingExtraError: what the model needs is not installed.
        WeightsError: a checkpoint that is missing, torn, or of another architecture.
        DeviceError: a device that the model or this machine does not have.
    """
    spec, found = _find(model)
    if dtype not in DTYPES:
        raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    chosen = choose_device(device, spec.devices, spec.name)
    given = os.fspath(weights) if weights is not None else found
    if not strict and not spec.lenient:
        raise InputError(f"model {spec.name!r} takes no weights that it knows only in part; leave strict=False out")
    lenient: Any = {} if strict else {"strict": False}
    segmenter = resolve(spec)(spec.name, weights=given, device=chosen, dtype=dtype, **lenient)
    return Runtime(
        segmenter,
        name=spec.name,
        cache=os.fspath(cache) if isinstance(cache, os.PathLike) else cache,
        memory=_memory(memory),
        converters=[open_source(source) if isinstance(source, str) else source for source in converters],
    )


def _find(model: str | os.PathLike[str]) -> tuple[SegmenterSpec, str | None]:
    """The model's spec, and the local checkpoint to load into it if `model` is one."""
    name = os.fspath(model)
    if isinstance(model, str) and not _looks_like_path(name):
        # A hub id means the weights there, not those that its model is published with elsewhere.
        return find_segmenter(name), name if "/" in name else None
    path = Path(name).expanduser()
    if not path.exists():
        raise WeightsError(f"no checkpoint at {name!r}; expected a file or folder; check the path, or name a model")
    architecture = identify_weights(path)
    if architecture is None:
        raise WeightsError(
            f"no installed plugin recognises the checkpoint {name!r}; name its model and pass weights={name!r}"
        )
    return find_segmenter(architecture), str(path)


def _looks_like_path(name: str) -> bool:
    """A name that is no path stays a name even if a folder of the same name happens to lie in the working directory."""
    return (
        name.startswith((".", "~", os.sep))
        or Path(name).suffix in (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".onnx")
        or (os.sep in name and Path(name).exists())
    )


def open_source(argument: str) -> PromptSource:
    """The prompt source that `NAME`, `NAME=ARGUMENT` or `NAME:ARGUMENT` names.

    Raises:
        UnknownNameError: no source of that name.
        InputError: whatever the source says of its argument.
    """
    end = min((argument.index(mark) for mark in "=:" if mark in argument), default=len(argument))
    source: PromptSource = resolve(find_prompt_source(argument[:end]))(argument[end + 1 :] or None)
    return source


def _memory(given: int | str | None) -> int:
    value = given if given is not None else os.environ.get("SAMOVAR_MEMORY")
    if value is None:
        return DEFAULT_MEMORY
    return value if isinstance(value, int) else parse_bytes(value)
