"""Counts of the servers of a canary and of what it takes over from, read from their metrics pages."""
