"""The SAM family: SAM, SAM-HQ, MobileSAM and EfficientSAM. `plugin` says what there is, and imports no torch."""
