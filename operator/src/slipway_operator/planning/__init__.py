"""Decisions, as pure functions over one snapshot: what should serve, and the next steps there."""
