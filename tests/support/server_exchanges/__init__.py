"""What clients of TensorFlow Serving ask and must hear, as tables: one row is one request and its answer."""
