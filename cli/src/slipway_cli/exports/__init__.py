"""Exports, wherever they lie: which version a path means, its signatures, and whether it is complete."""
