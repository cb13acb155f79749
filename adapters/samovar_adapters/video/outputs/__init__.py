"""Where tracks go: an overlay video, MOTS and MOT text, COCO-video JSON, a folder of masks."""
