"""A model server that speaks the gRPC and REST APIs of TensorFlow Serving."""
