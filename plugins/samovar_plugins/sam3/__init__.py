"""SAM 3: points, boxes and masks through its tracker's head, text and examples through its detector.

`plugin` says so, and imports neither torch nor transformers.
"""
