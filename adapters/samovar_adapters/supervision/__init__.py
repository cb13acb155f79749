"""`supervision.Detections` in and out."""

from samovar_adapters.supervision.convert import from_detections, to_detections

__all__ = ["from_detections", "to_detections"]
