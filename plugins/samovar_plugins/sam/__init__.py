"""The SAM family: SAM, SAM-HQ, MobileSAM and EfficientSAM over one prompt decoder.

`plugin` registers the models and imports no torch; `loading` builds one from its weights. A model that shares SAM's
mask decoder but not its encoder can build on `decoder`, `prompts`, `outlines` and `segmenter`.
"""
