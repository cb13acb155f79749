"""COCO annotation files: written as a stream that survives a kill, and read as prompts, one image at a time."""
