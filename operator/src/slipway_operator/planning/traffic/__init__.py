"""Which versions take the Model's traffic, and the Services that bring it about."""
