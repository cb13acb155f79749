"""EdgeTAM: SAM 2's decoder on a RepViT encoder made for phones (2025). `plugin` says so, and imports no torch."""
