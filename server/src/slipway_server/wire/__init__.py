"""Messages that TensorFlow Serving's published wheel lacks, or has in a slower form. Written by protos/generate."""
