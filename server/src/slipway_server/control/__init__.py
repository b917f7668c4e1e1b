"""Changing what is served: config files and reload requests."""
