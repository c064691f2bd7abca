"""Names, labels and addresses Eventing uses on its objects."""

from __future__ import annotations

EVENTING = "eventing.knative.dev/v1"
SOURCES = "sources.knative.dev/v1"

BROKER_CLASS = "eventing.knative.dev/broker.class"
MT_BROKER, KAFKA_BROKER = "MTChannelBasedBroker", "Kafka"

INGRESS_SERVICE, FILTER_SERVICE = "broker-ingress", "broker-filter"
KAFKA_INGRESS_SERVICE = "kafka-broker-ingress"


def host(service: str, namespace: str) -> str:
    """Return a Service's full name."""
    return f"{service}.{namespace}.svc.cluster.local"
