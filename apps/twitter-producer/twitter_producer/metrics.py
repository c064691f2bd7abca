"""The producer's metrics, in Prometheus' terms."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector


class Metrics:
    """Every metric, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        counters = {
            "polls": "Times the source was asked for posts.",
            "posts": "Posts received from the source, seen before or not.",
            "delivered": "Posts the sink has accepted.",
            "retried": "Attempts to deliver that were made again.",
            "dead_lettered": "Posts the sink refused for good.",
            "duplicates": "Posts received again in the overlap, and not delivered again.",
            "without_text": "Posts that had no text.",
            "checkpoints": "Times the checkpoint was stored.",
        }
        for name, text in counters.items():
            setattr(self, name, Counter(f"twitter_producer_{name}", text, registry=self.registry))
        self.source_errors = self._counter(
            "source_errors", "Errors of the source, by kind.", ["kind"]
        )
        self.rate_limit_remaining = self._gauge(
            "rate_limit_remaining", "Requests the source allows in its current window."
        )
        self.seconds_behind = self._gauge(
            "seconds_behind", "Seconds since everything that the source had was delivered."
        )
        self.budget_left = self._gauge("budget_left_posts", "Posts that may still be read today.")
        self.spent_posts = self._gauge("spent_today_posts", "Posts read today, as X bills them.")
        self.spent_dollars = self._gauge("spent_today_dollars", "Today's bill, estimated.")
        self.unanswered_posts = self._gauge(
            "unanswered_posts", "Posts that requests without an answer may have cost."
        )
        self.delivery_seconds = Histogram(
            "twitter_producer_delivery_seconds",
            "Time of one attempt to deliver.",
            registry=self.registry,
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
        )

    polls: Counter
    posts: Counter
    delivered: Counter
    retried: Counter
    dead_lettered: Counter
    duplicates: Counter
    without_text: Counter
    checkpoints: Counter

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(f"twitter_producer_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"twitter_producer_{name}", text, registry=self.registry)

    def value(self, name: str) -> float | None:
        """Return a metric's value by its name without the prefix; None if there is none yet."""
        value: float | None = self.registry.get_sample_value(f"twitter_producer_{name}")
        return value
