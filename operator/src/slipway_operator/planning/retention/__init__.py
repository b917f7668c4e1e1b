"""Which exports may be deleted from a source."""
