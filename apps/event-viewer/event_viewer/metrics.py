"""What `/metrics` counts (Prometheus' text format), over all worker processes."""

from __future__ import annotations

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

PREFIX = "event_viewer"

accepted = Counter("events_accepted", "Events stored.", namespace=PREFIX)
duplicates = Counter(
    "events_duplicate", "Events that were known by source and id.", namespace=PREFIX
)
rejected = Counter(
    "requests_rejected", "Requests refused, by status.", ["status"], namespace=PREFIX
)
throttled = Counter("requests_throttled", "Requests answered 429.", namespace=PREFIX)
store_errors = Counter("store_errors", "Failed attempts to write to the store.", namespace=PREFIX)
commit_seconds = Histogram(
    "commit_seconds",
    "Time to store the events that had come in together.",
    namespace=PREFIX,
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
pending_bytes = Gauge(
    "pending_bytes", "Bytes waiting for the store.", namespace=PREFIX, multiprocess_mode="livesum"
)
streams = Gauge("streams", "Live streams.", namespace=PREFIX, multiprocess_mode="livesum")
kept = Gauge("events_kept", "Events in the history.", namespace=PREFIX, multiprocess_mode="max")


def render(total: int) -> bytes:
    """The metrics as text; `total` is the number of events kept."""
    kept.set(total)
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return bytes(generate_latest())
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return bytes(generate_latest(registry))
