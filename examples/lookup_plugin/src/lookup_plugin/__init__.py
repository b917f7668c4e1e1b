"""Plug-ins of slipway-server."""
