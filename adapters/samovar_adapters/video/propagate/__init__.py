"""Tracking with any segmenter: masks moved by optical flow, corrected by looks, motion and the segmenter."""
