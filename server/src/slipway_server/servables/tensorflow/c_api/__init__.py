"""Graphs and sessions on TensorFlow's C API, by ctypes: the one place that knows its functions and its memory.

TensorFlow's Python package is not needed for any of it, and what takes long runs without the interpreter's lock.
"""
