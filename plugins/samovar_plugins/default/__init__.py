"""The embedded default segmenter: promptable masks with no download and no GPU."""
