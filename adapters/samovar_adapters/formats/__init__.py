"""File formats: masks into files, and annotation files as prompts."""
