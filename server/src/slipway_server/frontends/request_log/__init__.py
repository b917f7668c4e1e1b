"""Sampled requests and answers, written to files."""
