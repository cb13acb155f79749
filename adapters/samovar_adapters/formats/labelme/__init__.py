"""labelme's JSON files: written so that labelme opens them, and read as prompts."""
