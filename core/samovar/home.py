"""The user's home folder, where most systems keep caches, settings and data."""

from __future__ import annotations

from pathlib import Path

from samovar.errors import SamovarError

__all__ = ["home"]


def home() -> Path:
    """The folder. Raises SamovarError where the user has none, as in a container under a made-up user id."""
    try:
        return Path.home()
    except RuntimeError as error:
        raise SamovarError("this user has no home folder; set HOME to a folder that can be written to") from error
