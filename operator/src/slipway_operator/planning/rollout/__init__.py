"""Rollouts in steps: which step is under way, and how many pods of each version make its weight."""
