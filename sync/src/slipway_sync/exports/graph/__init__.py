"""The fields that are read of a SavedModel's or a SessionBundle's graph."""
