"""Programs that are measured."""
