"""What a loaded model is, without TensorFlow; one package for each format."""
