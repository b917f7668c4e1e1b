"""The agent that brings one version of a model from its source to a volume, verified."""
