"""Bucket notifications that start a poll at once."""
