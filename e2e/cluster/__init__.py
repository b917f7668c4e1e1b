"""The local Kubernetes that tests and the demo run on: pinned tools, real parts, one machine."""
