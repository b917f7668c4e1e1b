"""PersistentVolumeClaims that a Model's pods mount."""
