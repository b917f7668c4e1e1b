"""What leads requests to a Model from outside of the cluster."""
