"""What is set in Kafka's ConfigMaps."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._knative import kafka
from ansible_collections.streamops.knative.plugins.module_utils._knative.kafka import config_maps
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import ApiError
from ansible_collections.streamops.knative.plugins.module_utils._pipelines.formats import FORMATS

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


# What the cluster has


class Cluster:
    """A client of a cluster with Services, a ready endpoint of one, and a Secret."""

    def __init__(self, *, services: dict[str, Any] | None = None, secret: Any = None) -> None:
        self._objects = {("Service", name): value for name, value in (services or {}).items()}
        self._objects["Secret", "knative-eventing/kafka"] = secret

    def resource(self, _api_version: str, kind: str) -> str:
        return kind

    def get(self, kind: str, name: str, namespace: str) -> Any:
        found = self._objects.get((kind, f"{namespace}/{name}"))
        if isinstance(found, Exception):
            raise found
        return found

    def list(self, _kind: str, _namespace: str, *, label_selector: str) -> list[Any]:
        ready = label_selector.endswith("=ready")
        return [{"endpoints": [{"conditions": {"ready": ready}}]}]


def said(cluster: Cluster, **options: Any) -> list[str]:
    given = {"bootstrap_servers": ["ready.kafka:9092"], **options}
    client: Any = cluster
    return kafka.problems(client, ["kafka-broker"], given)


PORTS = {"ports": [{"port": 9092}]}
KAFKA = {"kafka/ready": {"spec": PORTS}}


@pytest.mark.parametrize(
    ("server", "services"),
    [
        ("ready.kafka:9092", KAFKA),
        ("ready.kafka.svc.cluster.local.:9092", KAFKA),
        ("other.kafka:9092", {"kafka/other": {"spec": {"type": "ExternalName"}}}),
        ("ready.kafka:9094", {"kafka/ready": {"spec": {**PORTS, "clusterIP": "None"}}}),
        ("kafka.example.com:9092", {}),
        ("kafka.corp.:9092", {}),
        ("10.0.0.5:9092", {}),
        ("[fd00::5]:9092", {}),
    ],
)
def test_an_address_that_may_be_reached_is_taken(server: str, services: dict[str, Any]) -> None:
    assert FORMATS["knative_eventing_kafka.bootstrap_servers[]"](server) == ""
    assert said(Cluster(services=services), bootstrap_servers=[server]) == []


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("no-port.kafka", "is not HOST:PORT"),
        ("ready.kafka:0", "is not HOST:PORT"),
        ("ready.kafka:90920", "is not HOST:PORT"),
        ("fd00::5:9092", "is not HOST:PORT"),
        ("ready.kafka:9094", "has no port 9094; its ports are 9092"),
        ("idle.kafka:9092", "has no ready endpoint"),
        ("none.invalid:9092", "a host outside the cluster is written none.invalid.:9092"),
    ],
)
def test_an_address_that_cannot_be_reached_is_refused(server: str, problem: str) -> None:
    services = {**KAFKA, "kafka/idle": {"spec": PORTS}}
    (told,) = said(Cluster(services=services), bootstrap_servers=[server])
    assert told.startswith(f"kafka.bootstrap_servers: {server} ")
    assert problem in told


def test_settings_that_no_component_reads_are_refused() -> None:
    client: Any = Cluster(services={})
    options = {"bootstrap_servers": ["ready.kafka:9092"]}
    (told,) = kafka.problems(client, ["eventing", "kafka-sink"], options)
    assert told.startswith(
        "kafka: none of the components reads it: add kafka-broker or kafka-channel"
    )
    assert (
        kafka.problems(client, ["eventing"], {"bootstrap_servers": [], "auth_secret": None}) == []
    )


def test_what_may_not_be_read_is_not_refused() -> None:
    forbidden = ApiError(403, {}, "GET")
    cluster = Cluster(services={"kafka/ready": forbidden}, secret=forbidden)
    assert said(cluster, auth_secret="kafka") == []


USER = {"user": "knative", "password": "hidden"}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"protocol": "PLAINTEXT"}, ""),
        ({"protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", **USER}, ""),
        ({"protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "tokenProvider": "a"}, ""),
        ({"protocol": "SSL", "user.skip": "True"}, ""),
        ({"protocol": "SSL"}, "lacks user.crt, user.key"),
        ({"protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}, "lacks user, password"),
        ({"protocol": "SASL_SSL", **USER}, "lacks sasl.mechanism"),
        ({"protocol": "SASL_SSL\n", **USER}, "SASL_SSL, without spaces and line breaks"),
        ({}, "its key protocol has to be one of PLAINTEXT, SSL"),
    ],
)
def test_a_secret_has_what_its_protocol_needs(data: dict[str, str], problem: str) -> None:
    secret = {"data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}}
    told = said(Cluster(services=KAFKA, secret=secret), auth_secret="kafka")
    assert len(told) == bool(problem)
    assert problem in "".join(told)
    assert "hidden" not in "".join(told)
