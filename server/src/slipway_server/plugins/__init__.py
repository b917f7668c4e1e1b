"""Plug-ins: what they are written against, and how they are found."""
