"""What is set in Kafka's ConfigMaps."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.module_utils._knative.kafka import config_maps

SERVERS = ["a.kafka:9092", "b.kafka:9092"]


def test_nothing_is_set_that_is_not_given() -> None:
    assert config_maps({}) == {}
    none = {"bootstrap_servers": [], "auth_secret": None, "topic_partitions": None}
    assert config_maps(none) == {}


def test_brokers_and_channels_are_told_where_kafka_is() -> None:
    assert config_maps({"bootstrap_servers": SERVERS}) == {
        "kafka-broker-config": {"bootstrap.servers": "a.kafka:9092,b.kafka:9092"},
        "kafka-channel-config": {"bootstrap.servers": "a.kafka:9092,b.kafka:9092"},
    }


def test_credentials_and_topics_are_set_in_upstream_s_keys() -> None:
    options = {"auth_secret": "sasl", "topic_partitions": 4, "topic_replication_factor": 1}
    assert config_maps(options) == {
        "kafka-broker-config": {
            "auth.secret.ref.name": "sasl",
            "default.topic.partitions": "4",
            "default.topic.replication.factor": "1",
        },
        "kafka-channel-config": {
            "auth.secret.ref.name": "sasl",
            "auth.secret.ref.namespace": "knative-eventing",
        },
    }
