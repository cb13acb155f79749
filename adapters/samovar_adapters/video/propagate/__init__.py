"""Tracking with any segmenter: masks moved by optical flow, corrected by appearance, motion and the segmenter."""
