"""A Kubernetes API server in memory, for clients others wrote."""
