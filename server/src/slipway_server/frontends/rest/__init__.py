"""HTTP: TensorFlow Serving's REST API, health pages and metrics."""
