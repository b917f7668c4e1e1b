"""The ports of `--front=native`: what the extension module is told, and what it asks."""
