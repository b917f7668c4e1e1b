"""What a version's directory says about its model, for each of TensorFlow's layouts; nothing is run here."""
