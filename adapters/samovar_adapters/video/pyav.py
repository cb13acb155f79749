"""PyAV when it is needed, and what its errors look like to a person."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from samovar.errors import MissingExtraError

__all__ = ["load_av", "one_line"]


def load_av() -> Any:
    """The `av` module, silent. Raises MissingExtraError."""
    try:
        av = import_module("av")
    except ImportError as error:
        raise MissingExtraError(
            f'reading and writing video needs PyAV ({error}); run: pip install "samovar[video]"'
        ) from error
    # No level at all: with any other, FFmpeg's threads wait for Python's lock even to say nothing, and for ever where
    # Python holds it while it closes the decoder that they work for.
    av.logging.set_level(None)
    return av


def one_line(error: Exception) -> str:
    """What went wrong, without FFmpeg's number and file name."""
    return str(getattr(error, "strerror", None) or error).splitlines()[0]
