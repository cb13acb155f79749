"""Fits the numbers of the embedded default segmenter. Needs torch and pycocotools, which the segmenter does not."""
