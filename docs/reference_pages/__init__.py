"""Writes pages of docs/reference that no program prints of itself: `python -m reference_pages PAGE`."""
