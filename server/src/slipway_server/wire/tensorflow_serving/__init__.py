"""TensorFlow Serving's messages under their own names, so that no wheel of its client has to be installed.

The modules import TensorFlow's messages from the TensorFlow package.
"""
