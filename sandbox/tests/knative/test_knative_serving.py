"""Knative Services: revisions, names, traffic, scaling, and what the webhook refuses."""

from __future__ import annotations

import pytest
import requests
from support.sandbox import until

pytestmark = pytest.mark.needs("kubectl")

SERVING = "serving.knative.dev/v1"


def revision_of(cluster, name, namespace):
    return cluster.get(SERVING, "Service", name, namespace)["status"]["latestReadyRevisionName"]


def pods(cluster, service, namespace):
    """Return the revisions that a Service's running pods are of."""
    return [
        pod["metadata"]["labels"]["serving.knative.dev/revision"]
        for pod in cluster.pods(namespace, f"serving.knative.dev/service={service}")
        if not pod["metadata"].get("deletionTimestamp")
    ]


def test_a_service_gets_a_url_and_answers_inside_and_outside(cluster, namespace):
    cluster.ksvc("hello", namespace)
    status = cluster.get(SERVING, "Service", "hello", namespace)["status"]
    assert status["url"] == f"http://hello.{namespace}.localhost"
    assert status["address"]["url"] == f"http://hello.{namespace}.svc.cluster.local"
    assert status["latestReadyRevisionName"] == "hello-00001"
    assert status["observedGeneration"] == 1
    assert status["traffic"] == [
        {"latestRevision": True, "percent": 100, "revisionName": "hello-00001"}
    ]
    assert cluster.events("hello", namespace) == []

    local = f"http://hello.{namespace}.svc.cluster.local/env"
    inside = cluster.fetch(f"hello.{namespace}.localhost", f"/fetch?{local}").json()
    assert inside["K_SERVICE"] == "hello"
    assert inside["K_CONFIGURATION"] == "hello"
    assert inside["K_REVISION"] == "hello-00001"
    assert cluster.fetch(f"nobody.{namespace}.localhost").status_code == 404


def test_an_answer_streams_through_every_hop(cluster, namespace):
    cluster.ksvc("stream", namespace)
    host = f"stream.{namespace}.localhost"
    lines = []
    with cluster.fetch(host, "/stream", stream=True) as answer:
        for line in filter(None, answer.iter_lines(chunk_size=1)):
            lines.append(line)
            # The next one is sent only now: whoever held this one back would hold it for good.
            cluster.fetch(host, "/release")
    assert lines == [b"data: 0", b"data: 1", b"data: 2"]


def test_each_change_of_the_template_is_a_revision_that_gets_the_traffic(cluster, namespace):
    cluster.ksvc("changed", namespace, COLOR="blue")
    changed = cluster.ksvc_object("changed", namespace, COLOR="green")
    cluster.apply(changed)
    until(lambda: revision_of(cluster, "changed", namespace) == "changed-00002", "the revision")
    cluster.wait("condition=Ready", "ksvc/changed", namespace=namespace)
    host = f"changed.{namespace}.localhost"
    until(lambda: cluster.fetch(host, "/env").json()["COLOR"] == "green", "the traffic")
    changed["spec"]["traffic"] = [{"revisionName": "changed-00001", "percent": 100}]
    cluster.apply(changed)
    cluster.wait("condition=Ready=False", "ksvc/changed", namespace=namespace)
    conditions = cluster.get(SERVING, "Service", "changed", namespace)["status"]["conditions"]
    assert {c["reason"] for c in conditions if c["type"] == "Ready"} == {"NotModelled"}


def test_scale_stays_within_its_bounds_and_old_revisions_have_no_pods(cluster, namespace):
    cluster.ksvc("bounded", namespace, {"min-scale": "2"})
    assert pods(cluster, "bounded", namespace) == ["bounded-00001"] * 2
    cluster.ksvc("bounded", namespace, {"min-scale": "0"})
    until(lambda: pods(cluster, "bounded", namespace) == ["bounded-00002"], "one pod is the least")


def test_a_revision_that_fails_leaves_the_traffic_to_the_one_before(cluster, namespace):
    cluster.ksvc("kept", namespace, COLOR="blue")
    broken = cluster.ksvc_object("kept", namespace, COLOR="green")
    container = broken["spec"]["template"]["spec"]["containers"][0]
    container["command"] = ["python3", "-c", "raise SystemExit(3)"]
    cluster.apply(broken)
    cluster.wait("condition=ConfigurationsReady=False", "ksvc/kept", namespace=namespace)
    status = cluster.get(SERVING, "Service", "kept", namespace)["status"]
    names = status["latestReadyRevisionName"], status["latestCreatedRevisionName"]
    assert names == ("kept-00001", "kept-00002")
    assert cluster.fetch(f"kept.{namespace}.localhost", "/env").json()["COLOR"] == "blue"


def test_a_container_that_ends_makes_the_service_not_ready_with_its_reason(cluster, namespace):
    broken = cluster.ksvc_object("broken", namespace)
    broken["spec"]["template"]["spec"]["containers"][0]["command"] = [
        "python3",
        "-c",
        "raise SystemExit(3)",
    ]
    cluster.apply(broken)

    def reason():
        status = cluster.get(SERVING, "Service", "broken", namespace).get("status") or {}
        ready = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
        return (ready.get("status"), ready.get("reason"))

    until(lambda: reason() == ("False", "RevisionMissing"), "Ready is False")
    conditions = cluster.get(SERVING, "Service", "broken", namespace)["status"]["conditions"]
    (found,) = (c for c in conditions if c["type"] == "ConfigurationsReady")
    assert found["reason"] == "RevisionFailed"
    assert 'Revision "broken-00001" failed with message: Container failed' in found["message"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"containers": []}, "missing field(s): spec.template.spec.containers"),
        (
            {"nodeSelector": {"a": "b"}},
            "must not set the field(s): spec.template.spec.nodeSelector",
        ),
        ({"hostNetwork": True}, "must not set the field(s): spec.template.spec.hostNetwork"),
    ],
)
def test_the_webhook_refuses(cluster, namespace, change, message):
    service = cluster.ksvc_object("refused", namespace)
    service["spec"]["template"]["spec"].update(change)
    with pytest.raises(Exception, match="admission webhook") as refusal:
        cluster.apply(service)
    assert message in str(refusal.value)
    assert "validation.webhook.serving.knative.dev" in str(refusal.value)


def test_private_services_have_no_public_host(cluster, namespace):
    private = cluster.ksvc_object("private", namespace)
    private["metadata"]["labels"] = {"networking.knative.dev/visibility": "cluster-local"}
    cluster.apply(private)
    cluster.wait("condition=Ready", "ksvc/private", namespace=namespace)
    url = cluster.get(SERVING, "Service", "private", namespace)["status"]["url"]
    assert url == f"http://private.{namespace}.svc.cluster.local"
    host = f"private.{namespace}.svc.cluster.local"
    assert requests.get(cluster.gateway, headers={"Host": host}, timeout=60).status_code == 404


def test_a_gateway_takes_routes_only_from_who_knows_its_uid(cluster):
    (pod,) = [
        pod
        for pod in cluster.list("v1", "Pod", "kourier-system")
        if pod["metadata"]["name"].startswith("3scale-kourier-gateway")
    ]
    url = f"http://{pod['status']['podIP']}:8090/"
    for given in ({}, {"Authorization": "Bearer nobody"}):
        answer = requests.put(url, json={"external": {}}, headers=given, timeout=60)
        assert answer.status_code == 401
