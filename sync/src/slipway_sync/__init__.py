"""What an export is, object stores, and the agent that brings exports to a volume."""
