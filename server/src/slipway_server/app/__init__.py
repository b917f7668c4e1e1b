"""The server's process: assembled, started, drained."""
