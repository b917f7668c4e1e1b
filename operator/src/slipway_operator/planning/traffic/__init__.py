"""Which pods take the Model's traffic."""
