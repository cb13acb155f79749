"""Faces as prompts, by the detector that comes with OpenCV."""
