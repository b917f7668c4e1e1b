"""The operator as a process: its settings, its logs, and what it runs."""
