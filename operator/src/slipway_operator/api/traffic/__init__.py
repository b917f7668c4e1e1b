"""`spec.traffic` of a Model."""
