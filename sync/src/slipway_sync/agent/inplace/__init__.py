"""Sources that are mounted volumes: listed and verified where they lie."""
