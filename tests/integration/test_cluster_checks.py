"""What the preflight finds in a cluster: namespaces that go, Knative that is missing or too old, sinks that are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube, api_server, custom, definition, deployment, namespace
from support.sandbox import until

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.cluster_checks import (
    problems,
)

PIPELINE = ["twitter_pipeline"]
SITE = ["gcp_cluster", "knative_eventing", "secrets", "twitter_pipeline"]
VALUES: dict[str, Any] = {
    "gcp_cluster_state": "present",
    "knative_eventing_state": "present",
    "knative_eventing_scope": "tests",
    "knative_eventing_components": ["serving", "kourier", "eventing"],
    "knative_eventing_version": "1.22.2",
    "knative_eventing_serving_version": "1.23.0",
    "knative_eventing_kourier_version": "1.23.0",
    "knative_eventing_folder": "",
    "knative_eventing_adopt": False,
    "secrets_state": "present",
    "secrets_backend": "kubernetes",
    "secrets_scope": "tests",
    "secrets_kubernetes_name": "twitter-credentials",
    "secrets_consumers": [{"namespace": "keys", "service_account": "a"}],
    "twitter_pipeline_state": "present",
    "twitter_pipeline_scope": "tests",
    "twitter_pipeline_delete_history": False,
    "twitter_pipeline_name": "twitter",
    "twitter_pipeline_namespace": "streamops",
    "twitter_pipeline_workload": "Deployment",
    "twitter_pipeline_subject_by": "name",
    "twitter_pipeline_delivery": "direct",
    "twitter_pipeline_sink": {},
    "twitter_pipeline_sink_ca_certs": "",
    "twitter_pipeline_sink_audience": "",
    "twitter_pipeline_broker": {},
    "twitter_pipeline_triggers": [{"name": "viewer"}],
    "twitter_pipeline_dead_letter": {},
    "twitter_pipeline_viewer": True,
    "twitter_pipeline_pod": {},
    "twitter_pipeline_viewer_pod": {},
    "event_driven_state": "present",
    "event_driven_scope": "tests",
    "event_driven_name": "event-driven",
    "event_driven_namespace": "streamops",
    "event_driven_broker": "twitter",
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server without Knative."""
    with api_server(tmp_path_factory.mktemp("bare")) as kube:
        yield kube


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """What an old Knative, installed by somebody else, leaves in an API server."""
    with api_server(tmp_path_factory.mktemp("old")) as kube:
        for project in ("eventing", "serving"):
            controller = deployment("controller", f"knative-{project}")
            controller["metadata"]["labels"] = {"app.kubernetes.io/version": "1.10.0"}
            kube.apply(namespace(f"knative-{project}"), controller)
        kube.apply(
            definition("SinkBinding", "sources.knative.dev"),
            definition("Service", "serving.knative.dev"),
        )
        yield kube


def found(kube: Kube, roles: list[str], **pipeline: Any) -> list[str]:
    given = {f"twitter_pipeline_{name}": value for name, value in pipeline.items()}
    return problems(kube.connect(), roles, VALUES | given)


def service(name: str, space: str = "") -> dict[str, Any]:
    reference = {"apiVersion": "v1", "kind": "Service", "name": name}
    return {"ref": reference | ({"namespace": space} if space else {})}


def test_the_whole_site_finds_nothing_wrong_with_an_empty_cluster(bare: Kube) -> None:
    assert found(bare, SITE) == []


def test_pipelines_alone_need_a_knative(bare: Kube) -> None:
    missing = found(bare, PIPELINE)
    assert len(missing) == 2
    assert missing[0].startswith("knative_eventing_version: Knative Eventing is not installed.")
    assert missing[1].startswith("knative_eventing_serving_version: Knative Serving is not")
    assert len(found(bare, PIPELINE, viewer=False)) == 1


def test_a_knative_that_is_too_old_is_named_with_its_version(old: Kube) -> None:
    eventing, serving = found(old, PIPELINE)
    assert eventing.startswith("knative_eventing_version: Knative Eventing 1.10.0 is too old")
    assert serving.startswith("knative_eventing_serving_version: Knative Serving 1.10.0 is too old")
    lacking = found(old, PIPELINE, delivery="broker")[0]
    assert "serves no eventing.knative.dev/v1 Broker, eventing.knative.dev/v1 Trigger" in lacking


def test_an_upgrade_that_cannot_work_is_refused_by_its_variables(old: Kube) -> None:
    said = found(old, SITE)
    for begin in (
        "knative_eventing_version: 1.10.0 is installed, and Knative is upgraded one minor",
        "knative_eventing_serving_version: 1.10.0 is installed",
        "knative_eventing_state: eventing 1.10.0 is installed already, by streamops.knative:"
        " set knative_eventing_adopt",
    ):
        assert [text for text in said if text.startswith(begin)], said


def test_namespaces_on_their_way_out_are_named_all_at_once(tmp_path: Path) -> None:
    variables = {
        "streamops": "twitter_pipeline_namespace",
        "keys": "secrets_consumers[0].namespace",
        "knative-eventing": "knative_eventing_components",
    }
    with api_server(tmp_path) as kube:  # without controllers, nobody finishes a deletion
        client = kube.connect()
        for space in variables:
            kube.apply(namespace(space))
            client.delete(client.resource("v1", "Namespace"), space)
        said = found(kube, SITE)
    for text, (space, variable) in zip(said, variables.items(), strict=True):
        assert text.startswith(f"{variable}: the namespace {space} is being deleted")


def test_nothing_is_asked_of_a_role_that_removes(bare: Kube) -> None:
    assert found(bare, PIPELINE, state="absent") == []


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (
            {"sink": service("archive", "gone")},
            "twitter_pipeline_sink.ref: there is no namespace gone",
        ),
        (
            {"sink": service("archive", "default")},
            "twitter_pipeline_sink.ref: there is no Service archive in namespace default",
        ),
        (
            {"sink": service("archive")},
            "twitter_pipeline_sink.ref: there is no Service archive in namespace streamops",
        ),
        (
            {"delivery": "broker", "dead_letter": service("a", "gone")},
            "twitter_pipeline_dead_letter.ref: there is no namespace gone",
        ),
        (
            {
                "pipelines": [
                    {},
                    {
                        "name": "b",
                        "delivery": "broker",
                        "triggers": [
                            {"name": "a"},
                            {"name": "b", "sink": service("archive", "gone")},
                        ],
                    },
                ]
            },
            "twitter_pipeline_pipelines[1].triggers[1].sink.ref: there is no namespace gone",
        ),
        (
            {"sink": {"ref": service("a")["ref"] | {"kind": "Servise"}}},
            "twitter_pipeline_sink.ref: the API server knows no kind 'Servise' in apiVersion 'v1'."
            " Did you mean v1 Service",
        ),
    ],
)
def test_a_sink_that_is_not_there_is_named(bare: Kube, pipeline: dict[str, Any], said: str) -> None:
    (told,) = found(bare, SITE, **pipeline)
    assert told.startswith(said)


def test_what_knative_does_not_take_in_a_pod_is_named_with_its_feature(bare: Kube) -> None:
    pod = {
        "nodeSelector": {"a": "b"},
        "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "volumes": [{"name": "a", "secret": {"secretName": "a"}}],
    }
    assert found(bare, SITE, pod=pod) == []
    said = found(bare, SITE, pod=pod, workload="KnativeService", viewer_pod=pod)
    assert [text.partition(": ")[0] for text in said] == [
        "twitter_pipeline_pod.nodeSelector",
        "twitter_pipeline_pod.env[0].valueFrom.fieldRef",
        "twitter_pipeline_viewer_pod.nodeSelector",
        "twitter_pipeline_viewer_pod.env[0].valueFrom.fieldRef",
    ]
    assert "the feature kubernetes.podspec-nodeselector is enabled" in said[0]
    features = {f"kubernetes.podspec-{name}": "enabled" for name in ("nodeselector", "fieldref")}
    enabled = VALUES | {"knative_eventing_config": {"serving": {"config-features": features}}}
    given = {"twitter_pipeline_viewer_pod": pod}
    assert problems(bare.connect(), SITE, enabled | given) == []


def test_sinks_that_the_run_brings_or_that_exist_are_fine(bare: Kube) -> None:
    existing = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "there", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    }
    bare.apply(existing)
    viewer = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "event-viewer"}
    assert found(bare, SITE, sink=service("there", "default")) == []
    assert found(bare, SITE, delivery="broker", dead_letter={"ref": viewer}) == []
    assert found(bare, SITE, sink={"uri": "http://example.com"}) == []


def test_a_class_of_brokers_needs_its_component(bare: Kube) -> None:
    kafka = {"delivery": "broker", "broker": {"class": "Kafka"}}
    (said,) = found(bare, SITE, **kafka)
    assert said.startswith("twitter_pipeline_broker.class: Kafka needs the component kafka-broker")
    assert said in found(bare, PIPELINE, **kafka)
    components = ["eventing", "serving", "kourier", "kafka-controller", "kafka-broker"]
    enabled = VALUES | {
        "knative_eventing_components": components,
        "knative_eventing_kafka_broker_version": "1.23.1",
        "knative_eventing_kafka": {"bootstrap_servers": ["kafka.example.com:9092"]},
    }
    given = {f"twitter_pipeline_{name}": value for name, value in kafka.items()}
    assert problems(bare.connect(), SITE, enabled | given) == []
    unreachable = {"knative_eventing_kafka": {"bootstrap_servers": ["kafka.messaging.svc:9092"]}}
    (said,) = problems(bare.connect(), SITE, enabled | unreachable)
    assert said.startswith(
        "knative_eventing_kafka.bootstrap_servers: kafka.messaging.svc:9092 cannot be reached"
    )


def test_a_rulebook_needs_the_broker_whose_events_it_gets(
    bare: Kube, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (said,) = problems(bare.connect(), ["event_driven"], VALUES)
    assert said.startswith("event_driven_broker: Knative Eventing is not installed")
    with api_server(tmp_path_factory.mktemp("brokers")) as kube:
        kube.apply(definition("Broker", "eventing.knative.dev"), namespace("streamops"))
        missing = "event_driven_broker: there is no Broker twitter in namespace"
        until(  # a definition takes a moment to be served
            lambda: problems(kube.connect(), ["event_driven"], VALUES)[0].startswith(missing),
            missing,
        )
        silent = VALUES | {"event_driven_broker": ""}
        assert problems(kube.connect(), ["event_driven"], silent) == []
        broker = {
            **custom("Broker", "twitter", "streamops"),
            "apiVersion": "eventing.knative.dev/v1",
        }
        kube.apply(broker, wait=False)
        assert problems(kube.connect(), ["event_driven"], VALUES) == []
