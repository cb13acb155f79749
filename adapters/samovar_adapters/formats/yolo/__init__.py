"""YOLO data sets: a text file of normalised outlines for every image, written and read as prompts."""
