"""A stand-in for the outside world: Kubernetes with Knative, Google, a registry and X."""
