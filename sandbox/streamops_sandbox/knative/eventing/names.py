"""Names, labels and addresses Eventing uses on its objects."""

from __future__ import annotations

import hashlib

EVENTING = "eventing.knative.dev/v1"
SOURCES = "sources.knative.dev/v1"

BROKER_CLASS = "eventing.knative.dev/broker.class"
MT_BROKER, KAFKA_BROKER = "MTChannelBasedBroker", "Kafka"

INGRESS_SERVICE, FILTER_SERVICE = "broker-ingress", "broker-filter"
KAFKA_INGRESS_SERVICE = "kafka-broker-ingress"
_LONGEST = 63


def host(service: str, namespace: str) -> str:
    """Return a Service's full name."""
    return f"{service}.{namespace}.svc.cluster.local"


def child(parent: str, suffix: str) -> str:
    """Return a name made of both, shortened by a hash where too long (kmeta.ChildName)."""
    name = parent + suffix
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    if len(suffix) > _LONGEST - len(digest):
        return (parent + digest)[: _LONGEST - len(digest)] + digest
    return parent[: _LONGEST - len(digest) - len(suffix)] + digest + suffix
