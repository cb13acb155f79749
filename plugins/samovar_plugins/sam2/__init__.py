"""SAM 2 and SAM 2.1 on images: a hierarchical encoder and SAM's decoder with high-resolution features.

`plugin` registers the models and imports no torch; `loading` builds one from its weights.
"""
