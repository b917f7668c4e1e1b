"""Compares slipway-server with the floor under it and with its peers, side by side on one machine."""
