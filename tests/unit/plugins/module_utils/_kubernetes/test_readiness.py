"""When an object is ready."""

from __future__ import annotations

from typing import Any

import pytest
from support.kube import definition

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes import json_path
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.readiness import (
    READY,
    Condition,
    expects_status,
    services,
    verdict,
)

Object = dict[str, Any]


def obj(
    kind: str, status: Object, api_version: str = "apps/v1", generation: int = 2, **spec: Any
) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": "x", "namespace": "ns", "generation": generation},
        "spec": spec,
        "status": status,
    }


def ready(**more: Any) -> Object:
    return {"conditions": [{"type": "Ready", "status": "True", **more}]}


FULL = {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
SET = {"observedGeneration": 2, "readyReplicas": 3, "updatedReplicas": 3}
DAEMON = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 2,
    "updatedNumberScheduled": 2,
    "numberAvailable": 2,
}
CUSTOM = "example.com/v1"


@pytest.mark.parametrize(
    ("thing", "missing"),
    [
        (obj("Deployment", {}, replicas=2), "has not seen it"),
        (obj("Deployment", FULL, replicas=2), ""),
        (obj("Deployment", {**FULL, "observedGeneration": 1}, replicas=2), "newest version"),
        (obj("Deployment", FULL, replicas=3), "2 of 3 replicas updated"),
        (obj("Deployment", {**FULL, "replicas": 3}, replicas=2), "1 old replicas"),
        (obj("Deployment", {**FULL, "availableReplicas": 1}, replicas=2), "1 of 2 replicas avail"),
        (obj("Deployment", {"observedGeneration": 2}, replicas=0), ""),
        (
            obj(
                "Deployment",
                {
                    "observedGeneration": 2,
                    "conditions": [
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "reason": "FailedCreate",
                            "message": "exceeded quota",
                        }
                    ],
                },
            ),
            "FailedCreate: exceeded quota",
        ),
        (obj("StatefulSet", SET, replicas=3), ""),
        (obj("StatefulSet", {**SET, "updatedReplicas": 1}, replicas=3), "1 of 3 replicas updated"),
        (
            obj(
                "StatefulSet",
                {**SET, "updatedReplicas": 1},
                replicas=3,
                updateStrategy={"rollingUpdate": {"partition": 2}},
            ),
            "",
        ),
        (obj("DaemonSet", DAEMON), ""),
        (obj("DaemonSet", {**DAEMON, "numberAvailable": 1}), "1 of 2 pods available"),
        (obj("Pod", {"phase": "Succeeded"}, "v1"), ""),
        (obj("Pod", {"phase": "Pending"}, "v1"), "no condition Ready yet"),
        (obj("Job", {}, "batch/v1"), "0 of 1 pods succeeded"),
        (
            obj("Job", {"conditions": [{"type": "Complete", "status": "True"}]}, "batch/v1"),
            "",
        ),
        (obj("Namespace", {"phase": "Terminating"}, "v1"), "phase is Terminating"),
        (obj("ConfigMap", {}, "v1"), ""),
        (obj("PodDisruptionBudget", {"conditions": []}, "policy/v1"), ""),
        (obj("Thing", ready(), CUSTOM), ""),
        (obj("Thing", {**ready(), "observedGeneration": 1}, CUSTOM), "newest version"),
        (obj("Thing", ready(observedGeneration=1), CUSTOM), "about an older version"),
        (
            obj(
                "Thing",
                {
                    "conditions": [
                        {"type": "Ready", "status": "Unknown", "reason": "R", "message": "m"}
                    ]
                },
                CUSTOM,
            ),
            "Ready=Unknown (R: m)",
        ),
        # A Service of Knative is a custom resource, one of Kubernetes' is ready by existing.
        (obj("Service", {}, "v1"), ""),
        (
            obj(
                "Service",
                {"conditions": [{"type": "Ready", "status": "False"}]},
                "serving.knative.dev/v1",
            ),
            "Ready=False",
        ),
    ],
)
def test_kinds(thing: Object, missing: str) -> None:
    found = verdict(thing)
    assert missing in found.missing
    assert (found == READY) == (not missing)
    assert not found.failed


@pytest.mark.parametrize(
    "thing",
    [
        obj("Pod", {"phase": "Failed"}, "v1"),
        obj("Job", {"conditions": [{"type": "Failed", "status": "True"}]}, "batch/v1"),
        obj(
            "CustomResourceDefinition",
            {"conditions": [{"type": "NamesAccepted", "status": "False"}]},
            "apiextensions.k8s.io/v1",
        ),
    ],
)
def test_what_waiting_cannot_help_is_final(thing: Object) -> None:
    assert verdict(thing).failed


def test_conditions_of_one_s_own() -> None:
    thing = obj(
        "Thing", {"conditions": [{"type": "Synced", "status": "True", "reason": "R"}]}, CUSTOM
    )
    assert verdict(thing, Condition("Thing", type="Synced")) == READY
    assert verdict(thing, Condition("Thing", type="Synced", reason="R")) == READY
    assert "Synced=True" in verdict(thing, Condition("Thing", type="Synced", reason="S")).missing
    assert verdict(obj("Thing", {}, CUSTOM), Condition("Thing", type="")) == READY
    assert not Condition("Other").applies_to(thing)
    assert not Condition("Thing", namespace="elsewhere").applies_to(thing)
    assert Condition("Thing", name="x", namespace="ns", api_version=CUSTOM).applies_to(thing)


def test_webhooks_need_a_ca_and_name_their_services() -> None:
    call = {"service": {"namespace": "ns", "name": "hook"}}
    hook = {
        **obj("MutatingWebhookConfiguration", {}, "admissionregistration.k8s.io/v1"),
        "webhooks": [{"name": "a.b.c", "clientConfig": call}],
    }
    assert "no caBundle yet for a.b.c" in verdict(hook).missing
    hook["webhooks"][0]["clientConfig"] = {**call, "caBundle": "eA=="}
    assert verdict(hook) == READY
    assert list(services(hook)) == [("ns", "hook")]


def test_a_definition_tells_whether_its_resources_get_conditions() -> None:
    crd = definition("Thing")
    assert expects_status(crd, CUSTOM)
    version = crd["spec"]["versions"][0]
    del version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"]["conditions"]
    assert not expects_status(crd, CUSTOM)
    version["additionalPrinterColumns"] = [
        {"name": "Ready", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}
    ]
    assert expects_status(crd, CUSTOM)
    assert not expects_status(crd, "example.com/v2")
    version["subresources"] = {}
    assert not expects_status(crd, CUSTOM)


@pytest.mark.parametrize(
    ("path", "value", "missing"),
    [
        ("{.status.phase}", "Running", ""),
        (".status.phase", "Ready", ".status.phase is Running, not Ready"),
        ("status.count", "2", ""),
        ("{.status.ready}", "true", ""),
        ("{.status.addresses[0].ip}", None, ""),
        ("{.status.addresses[-1].ip}", "10.0.0.2", ""),
        ("{.status.addresses[5].ip}", None, "is not set"),
        ("{.status.addresses[*].ip}", "10.0.0.1", "is 10.0.0.1, 10.0.0.2, not 10.0.0.1"),
        ('{.status.conditions[?(@.type=="Ready")].status}', "True", ""),
        ("{.metadata.annotations['a.b/c']}", "d", ""),
        ("{.status.empty}", None, "is"),
        ("{.status.missing}", None, "{.status.missing} is not set"),
    ],
)
def test_any_field_can_be_waited_for(path: str, value: str | None, missing: str) -> None:
    thing = obj(
        "Thing",
        {
            "phase": "Running",
            "count": 2,
            "ready": True,
            "empty": "",
            "addresses": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}],
            "conditions": [
                {"type": "Other", "status": "False"},
                {"type": "Ready", "status": "True"},
            ],
        },
        CUSTOM,
    )
    thing["metadata"]["annotations"] = {"a.b/c": "d"}
    found = verdict(thing, Condition("Thing", json_path=path, value=value))
    assert (found == READY) == (not missing)
    assert missing in found.missing


def test_a_path_that_is_not_understood_is_named() -> None:
    with pytest.raises(ValueError, match=r"'\[\?\(@.a>1\)\]' is not understood"):
        json_path.parse("{.status.list[?(@.a>1)]}")


def test_a_daemon_set_that_is_updated_by_deleting_is_ready_with_old_pods() -> None:
    status = {**DAEMON, "updatedNumberScheduled": 0}
    assert verdict(obj("DaemonSet", status)).missing == "0 of 2 pods updated"
    by_hand = obj("DaemonSet", status, updateStrategy={"type": "OnDelete"})
    assert verdict(by_hand) == READY
    none = {"observedGeneration": 2, "desiredNumberScheduled": 0}
    assert verdict(obj("DaemonSet", none)) == READY
