"""What a person reads: columns, conditions, rows of versions."""
