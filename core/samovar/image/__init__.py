"""Images: any source a caller may hold, as read-only RGB pixels; and finding image files on disk."""

from __future__ import annotations

from samovar.image.find import find_images, image_suffixes, is_pattern
from samovar.image.image import Image, ImageLike, read_mask
from samovar.image.sources import DEFAULT_MAX_PIXELS, is_url, name_of_url, parse_data_url

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "Image",
    "ImageLike",
    "find_images",
    "image_suffixes",
    "is_pattern",
    "is_url",
    "name_of_url",
    "parse_data_url",
    "read_mask",
]
