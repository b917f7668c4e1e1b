"""The gRPC port: threads, limits, health, the UNIX socket. Knows bytes and methods, no message of any API."""
