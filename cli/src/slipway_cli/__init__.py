"""The `slipway` command line and the kubectl plugin: for people, on their own machines."""
