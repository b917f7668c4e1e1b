"""kopf's handlers."""
