"""The volume that versions are written to: its layout, and every change of it."""
