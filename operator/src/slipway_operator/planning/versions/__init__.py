"""Which versions should serve, and which have failed."""
