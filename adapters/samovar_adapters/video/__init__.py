"""Masks that keep their identity through a video."""
