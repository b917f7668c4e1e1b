"""Rollouts of Models in a cluster: what is shown of them, and what a person asks of them."""
