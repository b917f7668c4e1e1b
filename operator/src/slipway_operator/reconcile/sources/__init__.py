"""Polling sources: access, limits, and the last observation of each."""
