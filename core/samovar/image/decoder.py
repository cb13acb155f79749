"""Which decoder turned a file into pixels: another one may give others for the same file."""

from __future__ import annotations

from samovar.image.arrays import ValueRange

__all__ = ["RULES", "decoder_id"]

RULES = 1
"""Version of what `samovar.image.decode` makes of a file. Raise it when any file gives other pixels than before."""


def decoder_id(value_range: ValueRange | None) -> str:
    """Identifies the rules, the libraries and the parameters that decide what pixels a file gives."""
    from PIL import ImageFile, __version__, features

    jpeg = features.version_feature("libjpeg_turbo") or features.version_codec("jpg")
    torn = " and torn files" if ImageFile.LOAD_TRUNCATED_IMAGES else ""
    return f"samovar {RULES}; Pillow {__version__}; JPEG {jpeg}; range {value_range}{torn}"
