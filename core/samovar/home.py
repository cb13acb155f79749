"""The user's own folders, where this platform keeps caches, settings and data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from samovar.errors import SamovarError

__all__ = ["cache_folder", "data_folder", "home", "settings_folder"]


def home() -> Path:
    """The home folder. Raises SamovarError where the user has none, as in a container under a made-up user id."""
    return _found(Path.home)


def cache_folder() -> Path:
    """`samovar` in the user's folder for caches, `~/.cache/samovar` on Linux. Raises SamovarError without a home."""
    from platformdirs import user_cache_path

    return _found(lambda: user_cache_path("samovar", appauthor=False))


def settings_folder() -> Path:
    """`samovar` in the user's folder for settings, `~/.config/samovar` on Linux. Raises SamovarError without a home."""
    from platformdirs import user_config_path

    return _found(lambda: user_config_path("samovar", appauthor=False, roaming=True))


def data_folder() -> Path:
    """`samovar` in the user's folder for data, `~/.local/share/samovar` on Linux. SamovarError without a home."""
    from platformdirs import user_data_path

    return _found(lambda: user_data_path("samovar", appauthor=False))


def _found(folder: Callable[[], Path]) -> Path:
    try:
        found = folder()
        # Older versions of platformdirs leave a "~" that stands for nobody's home where it is.
        return found if found.is_absolute() else Path.home() / found
    except RuntimeError as error:
        raise SamovarError("this user has no home folder; set HOME to a folder that can be written to") from error
