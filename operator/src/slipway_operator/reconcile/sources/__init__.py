"""Polling sources: access to them, limits, and what is known of each."""
