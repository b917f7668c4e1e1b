"""TensorFlow's tensor bundle: the index of a checkpoint and the checksums of its shards."""
