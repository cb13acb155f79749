"""EdgeTAM on images: SAM 2's decoder on a RepViT encoder made for phones (2025).

`plugin` registers the model and imports no torch; `loading` builds it from its weights.
"""
