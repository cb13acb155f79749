"""Loading an inpainting pipeline from a folder or the hub."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from samovar.device import choose_device
from samovar.errors import InputError, MissingExtraError, WeightsError
from samovar_adapters.diffusers.signature import Signature

__all__ = ["load_pipeline"]


def load_pipeline(
    name: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", local_files_only: bool = False
) -> Any:
    """The diffusers pipeline in a folder or of a hub id, as one that inpaints.

    A text-to-image pipeline becomes the inpainting pipeline of its family, with the same weights, where there is one.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto" (as saved on a GPU, float32 on a CPU), "float32", "bfloat16" or "float16".

    Raises:
        MissingExtraError: diffusers is not installed.
        WeightsError: nothing there that diffusers can load.
        InputError: a pipeline that takes no mask.
    """
    try:
        diffusers: Any = import_module("diffusers")
        torch: Any = import_module("torch")
    except ImportError as error:
        raise MissingExtraError('diffusion needs diffusers; run: pip install "samovar[diffusers]"') from error
    chosen = choose_device(device, ("cpu", "cuda", "mps"), os.fspath(name))
    wanted = {} if dtype == "auto" and chosen != "cpu" else {"dtype": _dtype(torch, dtype)}
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            os.fspath(name), local_files_only=local_files_only, **wanted
        )
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(
            f"{os.fspath(name)!r}: expected a diffusers pipeline's folder or hub id; {reason}"
        ) from error
    return _inpainting(diffusers, pipeline).to(chosen)


def _inpainting(diffusers: Any, pipeline: Any) -> Any:
    try:
        Signature.of(pipeline)
    except InputError:
        try:
            return diffusers.AutoPipelineForInpainting.from_pipe(pipeline)
        except ValueError:
            pass
        raise
    return pipeline


def _dtype(torch: Any, dtype: str) -> Any:
    names = {"auto": "float32", "float32": "float32", "bfloat16": "bfloat16", "float16": "float16"}
    if dtype not in names:
        raise InputError(f"dtype must be one of {', '.join(names)}; got {dtype!r}")
    return getattr(torch, names[dtype])
