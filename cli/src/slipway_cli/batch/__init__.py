"""Batch prediction: rows in, one answer each out, in order, whatever happens on the way."""
