"""`status.history`: what began each transition, how it ended, and how long it took."""
