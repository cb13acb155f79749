"""Compact masks: `Masks` holds N masks of one image as run lengths and gives every other form on request."""

from __future__ import annotations

from samovar.masks.masks import Masks
from samovar.masks.measure import nms_boxes
from samovar.masks.polygons import Polygon, Rule

__all__ = ["Masks", "Polygon", "Rule", "nms_boxes"]
