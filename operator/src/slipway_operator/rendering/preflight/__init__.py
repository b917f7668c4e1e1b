"""What tries a version out before an old pod goes for it."""
