"""The protocols: codecs around the predictor and the state monitor."""
