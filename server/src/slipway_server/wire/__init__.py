"""TensorFlow Serving's messages that its published wheel lacks. Written by protos/generate; needs no TensorFlow."""
