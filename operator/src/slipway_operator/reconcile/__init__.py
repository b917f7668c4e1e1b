"""The shell around the plan: when to reconcile, what to read, what to write, in which order."""
