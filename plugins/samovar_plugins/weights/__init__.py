"""Published weights: found on this machine or downloaded once, whole and checked."""

from __future__ import annotations

from samovar_plugins.weights.download import download, weights_folder
from samovar_plugins.weights.locate import Source, locate

__all__ = ["Source", "download", "locate", "weights_folder"]
