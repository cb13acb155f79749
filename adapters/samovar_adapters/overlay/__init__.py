"""Masks drawn over their picture."""
