"""What agent and operator tell each other: exit codes, termination messages, log lines."""
