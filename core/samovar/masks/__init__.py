"""Compact masks: `Masks` holds N masks of one image as run lengths and gives every other form on request."""

from samovar.masks.masks import Masks
from samovar.masks.polygons import Polygon

__all__ = ["Masks", "Polygon"]
