"""The controllers of the core kinds: workloads, endpoints, garbage collection, namespaces."""
