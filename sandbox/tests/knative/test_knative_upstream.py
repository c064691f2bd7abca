"""Upstream's own manifests, unmodified, on the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.sandbox import until

MANIFESTS = Path(__file__).parents[4] / "shared" / "knative"
FILES = [
    "serving-crds",
    "eventing-crds",
    "serving-core",
    "kourier",
    "eventing-core",
    "in-memory-channel",
    "mt-channel-broker",
    "serving-hpa",
    "serving-default-domain",
]
NAMESPACES = ("knative-serving", "knative-eventing", "kourier-system")

pytestmark = [
    pytest.mark.needs("kubectl"),
    pytest.mark.skipif(
        not MANIFESTS.is_dir(), reason=f"upstream's manifests are not at {MANIFESTS}"
    ),
]


@pytest.fixture(scope="module")
def upstream(bare_cluster):
    """A cluster with upstream's manifests, which any of the tests may be the first to need."""
    for name in FILES:
        if name == "serving-default-domain":
            ready = ("condition=Available", "deployment/webhook")
            bare_cluster.wait(*ready, namespace="knative-serving")
        bare_cluster.install((MANIFESTS / f"{name}.yaml").read_text())
    bare_cluster.rolled_out(*NAMESPACES)
    return bare_cluster


def test_upstream_manifests_install_and_work(upstream):
    cluster = upstream
    # The default-domain Job writes the domain made of the gateway's address.
    cluster.wait("condition=Complete", "job/default-domain", namespace="knative-serving")
    domain = cluster.get("v1", "ConfigMap", "config-domain", "knative-serving")
    assert domain["data"]["127.0.0.1.sslip.io"] == ""

    for webhook in cluster.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"):
        for entry in webhook["webhooks"]:
            assert entry["clientConfig"]["caBundle"], webhook["metadata"]["name"]
            unmodelled = entry["name"].startswith("inmemorychannel.")
            assert entry.get("rules") or unmodelled, webhook["metadata"]["name"]
    adapter = cluster.get("apps/v1", "Deployment", "pingsource-mt-adapter", "knative-eventing")
    assert adapter["spec"]["replicas"] == 0

    cluster.use_kourier()
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "upstream"}})
    cluster.ksvc("hello", "upstream")
    assert cluster.events("hello", "upstream") == []
    cluster.apply(
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Broker",
            "metadata": {"name": "default", "namespace": "upstream"},
        },
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Trigger",
            "metadata": {"name": "all", "namespace": "upstream"},
            "spec": {
                "broker": "default",
                "subscriber": {
                    "ref": {
                        "apiVersion": "serving.knative.dev/v1",
                        "kind": "Service",
                        "name": "hello",
                    }
                },
            },
        },
    )
    cluster.wait("condition=Ready", "trigger/all", namespace="upstream")
    assert cluster.send(cluster.broker_ingress("upstream", "default")).status_code == 202
    until(lambda: cluster.events("hello", "upstream"), "the event arrived")


def test_a_second_apply_changes_nothing(upstream):
    before = _versions(upstream)
    assert before
    for name in ("serving-core", "kourier", "eventing-core", "in-memory-channel"):
        upstream.install((MANIFESTS / f"{name}.yaml").read_text())
    assert _versions(upstream) == before


def _versions(cluster):
    """Return the generations of all workloads: a new one would be a new rollout."""
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["generation"]
        for item in cluster.list("apps/v1", "Deployment")
        if item["metadata"]["namespace"] in NAMESPACES
    }
