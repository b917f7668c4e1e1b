"""Transferring one version from a source."""
