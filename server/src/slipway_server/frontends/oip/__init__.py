"""The Open Inference Protocol, version 2, over gRPC and REST, beside TensorFlow Serving's API."""
