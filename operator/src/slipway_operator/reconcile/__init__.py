"""The shell around the plan: when to look, what to read, what to write, in which order."""
