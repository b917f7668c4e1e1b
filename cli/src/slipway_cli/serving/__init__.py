"""A model server as its clients see it: addresses, signatures, tensors, requests over REST and gRPC."""
