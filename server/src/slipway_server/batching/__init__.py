"""Runs requests that arrive together as one. Between the predictor and a loaded model; knows no TensorFlow."""
