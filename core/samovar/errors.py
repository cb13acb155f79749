"""Every exception Samovar raises on purpose.

    SamovarError
    ├── InputError (ValueError)        what the caller handed over cannot be used
    │   ├── ImageError                 not an image, too large, torn, unsupported mode
    │   ├── PromptError                NaN, empty, wrong shape, outside the image
    │   │   └── UnsupportedPromptError the segmenter does not take this kind of prompt
    │   ├── MaskError                  malformed RLE, polygon, array or file of masks
    │   └── UnknownNameError           no model, source, sink or option of that name
    ├── PluginError                    a plugin is broken or two plugins claim one name
    ├── MissingExtraError (ImportError) an optional dependency is not installed
    ├── WeightsError                   a checkpoint is missing, torn or of another architecture
    ├── DeviceError                    the device asked for is not there or cannot do it
    ├── HttpError                      of samovar.http: an address does not answer as it should
    ├── CacheError                     the cache folder cannot be used as asked
    └── Cancelled                      the caller asked for the work to stop

A message is one line: what was expected, what came, what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "CacheError",
    "Cancelled",
    "DeviceError",
    "ImageError",
    "InputError",
    "MaskError",
    "MissingExtraError",
    "PluginError",
    "PromptError",
    "SamovarError",
    "UnknownNameError",
    "UnsupportedPromptError",
    "WeightsError",
    "image_error",
    "one_line",
]


class SamovarError(Exception):
    """Base of every exception that Samovar raises on purpose."""


class InputError(SamovarError, ValueError):
    """What the caller handed over cannot be used."""


class ImageError(InputError):
    """Not an image, or one that cannot be read within the stated bounds."""


class PromptError(InputError):
    """A prompt that no segmenter could answer."""


class UnsupportedPromptError(PromptError):
    """A prompt of a kind that this segmenter does not take."""


class MaskError(InputError):
    """Malformed masks: an RLE, polygon, array or file."""


class UnknownNameError(InputError):
    """No model, source, sink or option of that name."""

    @classmethod
    def among(
        cls, kind: str, name: str, known: Iterable[str], hint: str, aliases: Iterable[str] = ()
    ) -> UnknownNameError:
        """An error that names the nearest of the known names and `aliases`, or else lists the known names, and says
        what to do (`hint`).
        """
        names = sorted(known)
        near = get_close_matches(name, [*names, *sorted(aliases)], n=3, cutoff=0.5)
        listing = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
        return cls(f"unknown {kind} {name!r}; {listing}; {hint}")


class PluginError(SamovarError):
    """A plugin is broken, or two plugins claim one name."""


class MissingExtraError(SamovarError, ImportError):
    """An optional dependency is not installed."""


class WeightsError(SamovarError):
    """A checkpoint is missing, torn, unsafe or of another architecture."""


class DeviceError(SamovarError):
    """The device asked for is not there, or cannot do what was asked."""


class CacheError(SamovarError):
    """The cache folder cannot be used as asked."""


class Cancelled(SamovarError):
    """The caller asked for the work to stop."""


def image_error(label: str, expected: str, got: object, advice: str) -> ImageError:
    """An ImageError of the one shape that they all have: which image, what was expected, what came, what to do."""
    return ImageError(f"{one_line(label, 500)}: expected {expected}, got {one_line(got, 200)}; {advice}")


def one_line(thing: object, length: int = 120) -> str:
    """`thing`, often an exception, as text on one line of at most `length` characters; never empty."""
    return " ".join(str(thing).split())[:length] or type(thing).__name__
