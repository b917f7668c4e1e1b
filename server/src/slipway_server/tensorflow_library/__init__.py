"""Where TensorFlow's library, messages and the few parts of its Python package come from.

A process that serves SavedModels and SessionBundles runs none of TensorFlow's Python code but its generated messages.
"""
