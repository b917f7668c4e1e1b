"""Which Deployments there are, and what protects their pods."""
