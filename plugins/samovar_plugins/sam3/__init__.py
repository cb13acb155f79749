"""SAM 3 on images: points, boxes and masks through its tracker's head, text and examples through its detector.

`plugin` registers the model and imports neither torch nor transformers; `loading` builds it from its weights.
"""
