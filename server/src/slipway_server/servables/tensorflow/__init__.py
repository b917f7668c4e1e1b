"""Exports of TensorFlow: what they promise (signatures) and how they are loaded and run.

Importing this package does not import TensorFlow; `formats` and `session_model` do.
"""
