"""A family of one small SAM, for tests of what all families have from the toolkit."""

from __future__ import annotations

from samovar.plugins import SegmenterSpec
from samovar_plugins.sam.plugin import build_sam, detect
from samovar_plugins.toolkit import Family, convert_state_dict

__all__ = ["FAMILY", "NAME"]

NAME = "small-sam"

FAMILY = Family(
    [SegmenterSpec(name=NAME, target="x:FAMILY.load", prompts=["points"], summary="SAM, small", licence="Apache-2.0")],
    lambda shapes: NAME if detect(shapes) else None,
    lambda weights: build_sam("sam", weights.state),
    convert=convert_state_dict,
)
