"""Manifests of the children of a Model, as pure functions."""
