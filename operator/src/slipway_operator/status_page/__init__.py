"""The read-only status page: what the watch of Models has shown last, live in a browser."""
