"""Feeds the server's parts with bytes that no client would send.

    python -m fuzz TARGET --seconds N

runs one target, guided by coverage where `atheris` is installed (`pip install atheris`), else by chance. CI replays
what is in `tests/corpus/` with a few mutations of it. What was found goes there as one more small file.
"""
