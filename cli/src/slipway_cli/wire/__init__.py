"""Generated messages: TensorFlow Serving's, as far as a client needs them (see protos/slipway/client)."""
