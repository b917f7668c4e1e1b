"""Configuration of a model server."""
