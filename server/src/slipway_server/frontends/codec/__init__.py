"""Between wire messages and the predictor's values; knows no transport."""
