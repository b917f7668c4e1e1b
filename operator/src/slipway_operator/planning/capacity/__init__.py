"""How many pods each version may have."""
