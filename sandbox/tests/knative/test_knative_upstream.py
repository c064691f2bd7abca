"""Upstream's own manifests, unmodified, on the sandbox."""

from __future__ import annotations

import time
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
]
NAMESPACES = ("knative-serving", "knative-eventing", "kourier-system")

pytestmark = [
    pytest.mark.needs("kubectl"),
    pytest.mark.skipif(
        not MANIFESTS.is_dir(), reason=f"upstream's manifests are not at {MANIFESTS}"
    ),
]


def test_upstream_manifests_install_and_work(bare_cluster):
    cluster = bare_cluster
    begun = time.monotonic()
    for name in FILES:
        cluster.install((MANIFESTS / f"{name}.yaml").read_text())
    cluster.rolled_out(*NAMESPACES)
    print(f"installed and rolled out in {time.monotonic() - begun:.1f} s")

    for webhook in cluster.list("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration"):
        for entry in webhook["webhooks"]:
            assert entry["clientConfig"]["caBundle"], webhook["metadata"]["name"]
            assert entry["rules"], webhook["metadata"]["name"]
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


def test_a_second_apply_changes_nothing(bare_cluster):
    before = _versions(bare_cluster)
    for name in ("serving-core", "kourier", "eventing-core", "in-memory-channel"):
        bare_cluster.install((MANIFESTS / f"{name}.yaml").read_text())
    assert _versions(bare_cluster) == before


def _versions(cluster):
    """Return the generations of all workloads: a new one would be a new rollout."""
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): item["metadata"]["generation"]
        for item in cluster.list("apps/v1", "Deployment")
        if item["metadata"]["namespace"] in NAMESPACES
    }
