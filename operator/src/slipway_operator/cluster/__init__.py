"""Everything that talks to the Kubernetes API: reads into a snapshot, writes of a plan, the Lease."""
