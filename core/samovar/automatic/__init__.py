"""Automatic masks: SAM's generator (Kirillov et al., "Segment Anything", 2023) over any segmenter."""

from samovar.automatic.generate import generate
from samovar.automatic.options import AutomaticOptions, HasAutomaticDefaults

__all__ = ["AutomaticOptions", "HasAutomaticDefaults", "generate"]
