"""Samovar: promptable segmentation in the tools people already use.

    import samovar

    sam = samovar.load("default")
    masks = sam.segment("street.jpg", samovar.Prompt(box=(12, 30, 410, 380), label="bus"))

Names are imported on first use, so that `import samovar` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samovar.lazy import lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from samovar.embedding import Embedding
    from samovar.errors import SamovarError
    from samovar.fingerprint import Fingerprint
    from samovar.image import Image
    from samovar.loading import load
    from samovar.masks import Masks
    from samovar.plugins import hookimpl, list_segmenters, load_plugins
    from samovar.prompts import Exemplar, Prompt, Prompts
    from samovar.protocols import DecodeOptions, MaskSink, PromptSource, Segmenter
    from samovar.runtime import Runtime

_HOME = {
    "DecodeOptions": "protocols",
    "Embedding": "embedding",
    "Exemplar": "prompts",
    "Fingerprint": "fingerprint",
    "Image": "image",
    "MaskSink": "protocols",
    "Masks": "masks",
    "Prompt": "prompts",
    "PromptSource": "protocols",
    "Prompts": "prompts",
    "Runtime": "runtime",
    "SamovarError": "errors",
    "Segmenter": "protocols",
    "hookimpl": "plugins",
    "list_segmenters": "plugins",
    "load": "loading",
    "load_plugins": "plugins",
}

__all__ = [
    "DecodeOptions",
    "Embedding",
    "Exemplar",
    "Fingerprint",
    "Image",
    "MaskSink",
    "Masks",
    "Prompt",
    "PromptSource",
    "Prompts",
    "Runtime",
    "SamovarError",
    "Segmenter",
    "__version__",
    "hookimpl",
    "list_segmenters",
    "load",
    "load_plugins",
]

__getattr__ = lazy(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
