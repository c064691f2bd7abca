"""The node agent: takes pods, runs their containers, probes them, keeps their logs."""
