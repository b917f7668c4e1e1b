"""The operator's domain: what is desired, what is observed, what is to be done. Frozen data, no I/O."""
