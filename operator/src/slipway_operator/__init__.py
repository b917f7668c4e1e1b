"""The Slipway operator: moves TensorFlow models through versions on Kubernetes."""
