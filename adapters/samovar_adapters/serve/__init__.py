"""Samovar over HTTP: one engine that many clients share, a small API, a page to try it on, and room for more routes."""
