"""What a model server is, without TensorFlow and without any protocol: versions, their states, policies, handles."""
