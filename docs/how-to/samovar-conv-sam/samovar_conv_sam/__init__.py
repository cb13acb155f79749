"""SAM's decoder on a convolutional encoder."""
