"""Whether an export is complete, proven from its own files."""
