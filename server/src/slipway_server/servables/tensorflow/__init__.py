"""Exports of TensorFlow: what they promise (signatures) and how they are loaded and run.

Importing this package does not import TensorFlow; `loader` and `session_model` do.
"""
