"""A segmenter for Samovar that thresholds grey levels around the prompt."""
