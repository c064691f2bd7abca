"""Objects of client-side apply are taken over, and objects are recreated where that is asked for."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from collections.abc import Iterator
from uuid import uuid4

import pytest
from support.kube import Kube, Object, api_server, config_map, deployment, namespace

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def ns(kube: Kube) -> str:
    name = f"test-{uuid4().hex[:8]}"
    kube.apply(namespace(name))
    return name


def kubectl_apply(kube: Kube, obj: Object) -> None:
    subprocess.run(
        ["kubectl", "apply", "-f", "-"],
        input=json.dumps(obj),
        env=os.environ | {"KUBECONFIG": str(kube.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.needs("kubectl")
def test_a_key_that_kubectl_applied_goes_when_it_is_left_out(kube: Kube, ns: str) -> None:
    kubectl_apply(kube, config_map("settings", ns, a="1", b="2"))
    wanted = config_map("settings", ns, a="9")
    with pytest.raises(Refused, match="kubectl-client-side-apply"):
        kube.apply(copy.deepcopy(wanted))
    predicted = kube.apply(copy.deepcopy(wanted), force_conflicts=True, check=True, diff=True)
    done = kube.apply(copy.deepcopy(wanted), force_conflicts=True, diff=True)
    assert predicted.actions == done.actions == {"ConfigMap settings": "changed"}
    assert predicted.result["diff"] == done.result["diff"]
    live = kube.get("v1", "ConfigMap", "settings", ns)
    assert live is not None
    assert live["data"] == {"a": "9"}
    assert "annotations" not in live["metadata"]
    again = kube.apply(copy.deepcopy(wanted), force_conflicts=True)
    assert again.result["changed"] is False


@pytest.mark.needs("kubectl")
def test_entries_of_lists_go_and_those_of_others_stay(kube: Kube, ns: str) -> None:
    old = deployment("app", ns)
    container = old["spec"]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "OLD", "value": "1"}, {"name": "KEPT", "value": "1"}]
    kubectl_apply(kube, old)
    client = kube.connect()
    resource = client.resource("apps/v1", "Deployment")
    client.apply(
        resource,
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "app", "namespace": ns, "labels": {"theirs": "yes"}},
        },
        field_manager="somebody",
    )
    new = copy.deepcopy(old)
    new["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "KEPT", "value": "1"}]
    predicted = kube.apply(copy.deepcopy(new), force_conflicts=True, check=True, diff=True)
    done = kube.apply(copy.deepcopy(new), force_conflicts=True, diff=True)
    assert predicted.result["diff"][0]["after"] == done.result["diff"][0]["after"]
    live = kube.get("apps/v1", "Deployment", "app", ns)
    assert live is not None
    (stored,) = live["spec"]["template"]["spec"]["containers"]
    assert stored["env"] == [{"name": "KEPT", "value": "1"}]
    assert stored["ports"]
    assert live["metadata"]["labels"] == {"theirs": "yes"}


@pytest.mark.needs("kubectl")
def test_the_same_object_changes_hands_once(kube: Kube, ns: str) -> None:
    same = config_map("settings", ns, a="1")
    kubectl_apply(kube, same)
    assert kube.apply(copy.deepcopy(same), force_conflicts=True).result["changed"]
    assert not kube.apply(copy.deepcopy(same), force_conflicts=True).result["changed"]
    managers = {
        entry["manager"]
        for entry in (kube.get("v1", "ConfigMap", "settings", ns) or {})["metadata"][
            "managedFields"
        ]
    }
    assert managers == {"streamops.knative"}


def test_an_immutable_field_is_changed_only_by_recreating(kube: Kube, ns: str) -> None:
    kube.apply(deployment("app", ns))
    new = deployment("app", ns)
    new["spec"]["selector"]["matchLabels"] = {"app": "other"}
    new["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    with pytest.raises(Refused, match=r"field is immutable.*Set recreate"):
        kube.apply(copy.deepcopy(new))
    before = kube.get("apps/v1", "Deployment", "app", ns)
    assert kube.apply(copy.deepcopy(new), recreate=True, check=True).actions == {
        "Deployment app": "recreated"
    }
    assert kube.get("apps/v1", "Deployment", "app", ns) == before
    assert kube.apply(copy.deepcopy(new), recreate=True).actions == {"Deployment app": "recreated"}
    after = kube.get("apps/v1", "Deployment", "app", ns)
    assert before is not None
    assert after is not None
    assert before["metadata"]["uid"] != after["metadata"]["uid"]
    assert after["spec"]["selector"]["matchLabels"] == {"app": "other"}
    assert not kube.apply(copy.deepcopy(new), recreate=True).result["changed"]
