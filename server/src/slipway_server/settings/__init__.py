"""Flags and what they say."""
