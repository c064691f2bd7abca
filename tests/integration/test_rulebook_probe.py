"""Where a rulebook's probe can be lost; that it arrives is the molecule scenario's to show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kube import Kube, api_server, custom, definition, namespace

from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.modules.rulebook_probe import TASK

LABELS = {"app.kubernetes.io/instance": "event-driven"}
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "event-driven-a", "namespace": "rules", "labels": LABELS},
    "spec": {"containers": [{"name": "rulebook", "image": "registry.example.com/rules:1"}]},
}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        kinds = [definition(kind, "eventing.knative.dev") for kind in ("Broker", "Trigger")]
        account = {"name": "default", "namespace": "rules"}
        running.apply(*kinds, namespace("rules"))
        running.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        running.apply(POD)
        ready = [{"type": "Ready", "status": "True"}]
        running.set_status(POD, {"phase": "Running", "conditions": ready})
        yield running


def lost(kube: Kube, **options: Any) -> str:
    given = {"namespace": "rules", "broker": "events", "labels": LABELS, "timeout": 0.1, **options}
    with pytest.raises(TaskError, match="The probe was lost") as raised:
        kube.run(TASK, **given)
    return str(raised.value)


def broker(kube: Kube, name: str, **status: Any) -> str:
    made = {**custom("Broker", name, "rules"), "apiVersion": "eventing.knative.dev/v1"}
    kube.apply(made)
    kube.set_status(made, status)
    return name


def test_without_a_pod_the_labels_are_named(kube: Kube) -> None:
    said = lost(kube, labels={"app.kubernetes.io/instance": "other"})
    assert "there is no pod with the labels app.kubernetes.io/instance=other" in said


def test_a_broker_that_is_not_there_is_named(kube: Kube) -> None:
    assert "there is no Broker nothing in namespace rules" in lost(kube, broker="nothing")


def test_a_broker_without_an_address_says_why(kube: Kube) -> None:
    condition = {"type": "Ready", "status": "False", "message": "no ingress yet"}
    name = broker(kube, "silent", conditions=[condition])
    assert "the Broker silent has no address: no ingress yet" in lost(kube, broker=name)


def test_in_check_mode_nothing_is_sent(kube: Kube) -> None:
    given = {"namespace": "rules", "broker": "nothing", "labels": LABELS}
    outcome = kube.run(TASK, check=True, **given)
    assert outcome.result["skipped"]
