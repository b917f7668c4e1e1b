"""One module for each kind of store, and what they share."""
