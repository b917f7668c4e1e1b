"""The programs that slipway-server is compared with; each runs as a process of its own."""
