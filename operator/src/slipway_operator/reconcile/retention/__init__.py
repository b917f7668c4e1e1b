"""Deleting old exports from sources."""
