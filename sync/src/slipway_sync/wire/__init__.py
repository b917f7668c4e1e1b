"""Generated messages: what Slipway reads of TensorFlow's files (see protos/slipway/wire)."""
