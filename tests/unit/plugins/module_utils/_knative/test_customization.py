"""What is set of workloads, budgets and the like becomes part of a release's objects, or is refused."""

from __future__ import annotations

from typing import Any

import pytest
from support.kube import KNATIVE

from ansible_collections.streamops.knative.plugins.module_utils._knative.customization import (
    Customization,
    Settings,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Manifests,
)
from streamops_sandbox.knative import release

Object = dict[str, Any]
FILES = {
    "knative/serving": ("serving-core",),
    "knative-extensions/net-kourier": ("kourier",),
    "knative/eventing": ("eventing-core", "in-memory-channel", "mt-channel-broker"),
}


def _texts(origin: str) -> list[str]:
    if origin == "upstream":
        if not KNATIVE.is_dir():
            pytest.skip("the upstream manifests are not beside this checkout")
        return [
            (KNATIVE / f"{name}.yaml").read_text() for names in FILES.values() for name in names
        ]
    return [
        release.render(repository, "1.23.0", name) or ""
        for repository, names in FILES.items()
        for name in names
    ]


@pytest.fixture(scope="module", params=["sandbox", "upstream"])
def objects(request: pytest.FixtureRequest) -> list[Object]:
    """The objects of a release: of the sandbox's, and of upstream's own."""
    manifests = Manifests()
    for number, text in enumerate(_texts(request.param)):
        manifests.add(f"file {number}", text)
    return [source.definition for source in manifests.result()]


def changed(objects: list[Object], kind: str, name: str, **settings: Any) -> Object:
    custom = Customization(Settings(**settings), objects)
    assert custom.problems() == []
    found = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return custom.changed(found[-1])


def problems(objects: list[Object], **settings: Any) -> list[str]:
    return Customization(Settings(**settings), objects).problems()


def pod(workload: Object) -> Object:
    return workload["spec"]["template"]["spec"]


def test_without_settings_only_the_budgets_differ_from_the_release(objects: list[Object]) -> None:
    custom = Customization(Settings(), objects)
    differing = [item for item in objects if custom.changed(item) != item]
    assert {item["kind"] for item in differing} <= {"PodDisruptionBudget"}


def test_replicas_of_all_are_those_of_every_deployment_but_the_one_that_is_started_when_needed(
    objects: list[Object],
) -> None:
    two = [{"name": "all", "replicas": 2}, {"name": "activator", "replicas": 30}]
    custom = Customization(Settings(workloads=two), objects)
    scaled = [custom.changed(item) for item in objects]
    counts = {
        item["metadata"]["name"]: item["spec"].get("replicas")
        for item in scaled
        if item["kind"] in ("Deployment", "StatefulSet")
    }
    bounds = {
        item["spec"]["scaleTargetRef"]["name"]: item["spec"]["minReplicas"]
        for item in scaled
        if item["kind"] == "HorizontalPodAutoscaler"
    }
    assert counts["controller"] == counts["autoscaler"] == counts["eventing-controller"] == 2
    assert counts["pingsource-mt-adapter"] == 0
    assert counts["request-reply"] == 1, "its pods share the work by their number"
    assert bounds["activator"] == 30
    assert bounds["eventing-webhook"] == bounds["3scale-kourier-gateway"] == 2
    for name in bounds:
        assert counts[name] is None, "its autoscaler owns the number of pods"
    activator = changed(objects, "HorizontalPodAutoscaler", "activator", workloads=two)
    assert activator["spec"]["maxReplicas"] == 30
    named = [{"name": "request-reply", "replicas": 3}]
    reply = changed(objects, "StatefulSet", "request-reply", workloads=named)
    assert reply["spec"]["replicas"] == 3


def test_fields_of_a_workload_are_upstream_s_but_for_what_is_set(objects: list[Object]) -> None:
    tolerations = [{"key": "dedicated", "operator": "Exists"}]
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}
    affinity = {"nodeAffinity": {"x": []}}
    workloads = [
        {"name": "all", "labels": {"team": "a"}, "topologySpreadConstraints": [spread]},
        {
            "name": "activator",
            "labels": {"team": "b"},
            "annotations": {"note": "c"},
            "nodeSelector": {"disk": "ssd"},
            "tolerations": tolerations,
            "affinity": affinity,
            "hostNetwork": True,
            "resources": [{"limits": {"cpu": "3"}, "requests": None}],
            "env": [{"container": "activator", "variables": [{"name": "POD_NAME", "value": "d"}]}],
            "readinessProbes": [{"periodSeconds": 9, "timeoutSeconds": None}],
        },
    ]
    before = next(
        item
        for item in objects
        if (item["kind"], item["metadata"]["name"]) == ("Deployment", "activator")
    )
    activator = changed(objects, "Deployment", "activator", workloads=workloads)
    for metadata in (activator["metadata"], activator["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "b"
        assert metadata["annotations"]["note"] == "c"
    found, upstream = pod(activator), pod(before)
    assert found["nodeSelector"] == {"disk": "ssd"}
    assert found["tolerations"] == tolerations
    assert found["affinity"] == affinity
    assert found["topologySpreadConstraints"] == [
        {**spread, "labelSelector": before["spec"]["selector"]}
    ]
    assert (found["hostNetwork"], found["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    (container,), (own,) = found["containers"], upstream["containers"]
    assert container["resources"].get("requests") == own.get("resources", {}).get("requests")
    assert container["resources"]["limits"]["cpu"] == "3"
    assert {"name": "POD_NAME", "value": "d"} in container["env"]
    assert len(container["env"]) == len(own["env"])
    assert container["readinessProbe"] == {**own["readinessProbe"], "periodSeconds": 9}
    other = changed(objects, "Deployment", "autoscaler", workloads=workloads)
    assert other["metadata"]["labels"]["team"] == "a"
    assert (
        pod(other)["containers"]
        == pod(
            next(
                i
                for i in objects
                if i["metadata"]["name"] == "autoscaler" and i["kind"] == "Deployment"
            )
        )["containers"]
    )


def test_budgets_let_one_pod_be_evicted_unless_they_say_otherwise(objects: list[Object]) -> None:
    names = [i["metadata"]["name"] for i in objects if i["kind"] == "PodDisruptionBudget"]
    assert len(names) == 4
    for name in names:
        spec = changed(objects, "PodDisruptionBudget", name)["spec"]
        assert spec.keys() == {"maxUnavailable", "selector"}
        assert spec["maxUnavailable"] == 1
    settings: Object = {
        "workloads": [{"name": "all", "replicas": 5}],
        "pod_disruption_budgets": [
            {"name": "all", "minAvailable": "80%", "maxUnavailable": None},
            {"name": "webhook-pdb", "maxUnavailable": "2"},
        ],
    }
    budget = changed(objects, "PodDisruptionBudget", "activator-pdb", **settings)
    assert budget["spec"].keys() == {"minAvailable", "selector"}
    assert budget["spec"]["minAvailable"] == "80%"
    webhook = changed(objects, "PodDisruptionBudget", "webhook-pdb", **settings)["spec"]
    assert webhook.keys() == {"maxUnavailable", "selector"}
    assert webhook["maxUnavailable"] == 2


def test_a_budget_that_blocks_drains_is_refused_with_what_to_do(objects: list[Object]) -> None:
    budgets = [{"name": "activator-pdb", "minAvailable": "80%"}]
    (told,) = problems(objects, pod_disruption_budgets=budgets)
    assert told == (
        "pod_disruption_budgets: activator-pdb with minAvailable: 80% lets none of 1 pods be evicted, so"
        " that draining a node never ends: set replicas to at least 5, or set maxUnavailable: 1"
    )
    four = [{"name": "activator", "replicas": 4}]
    assert problems(objects, pod_disruption_budgets=budgets, workloads=four)
    five = [{"name": "activator", "replicas": 5}]
    assert not problems(objects, pod_disruption_budgets=budgets, workloads=five)
    never = [{"name": "activator-pdb", "maxUnavailable": "0"}]
    (told,) = problems(objects, pod_disruption_budgets=never, workloads=five)
    assert "never ends: set maxUnavailable: 1" in told
    (told,) = problems(objects, pod_disruption_budgets=[{"name": "activator-pdb"}])
    assert "give either minAvailable or maxUnavailable of activator-pdb" in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"workloads": [{"name": "activater", "replicas": 2}]},
            "workloads[0].name: the chosen components have no workload 'activater'; did you mean"
            " activator?",
        ),
        (
            {"workloads": [{"name": "activator", "resources": [{"container": "activater"}]}]},
            "workloads[0].resources[0].container: activator has no container 'activater'; did you mean"
            " activator?",
        ),
        (
            {"workloads": [{"name": "all", "env": [{"container": "nobody", "variables": []}]}]},
            "workloads[0].env[0].container: all has no container 'nobody'; there are activator,",
        ),
        (
            {"services": [{"name": "activator-servic", "labels": {}}]},
            "services[0].name: the chosen components have no Service 'activator-servic'; did you mean"
            " activator-service?",
        ),
        (
            {"images": {"serving/cmd/activater": "x.example.com/a:1"}},
            "images: no image is named 'serving/cmd/activater'; did you mean serving/cmd/activator?",
        ),
    ],
)
def test_unknown_names_are_refused_with_what_was_meant(
    objects: list[Object], settings: Object, told: str
) -> None:
    (problem,) = problems(objects, **settings)
    assert problem.startswith(told)


def test_what_is_set_of_one_object_needs_it() -> None:
    serving = [{"kind": "Deployment", "metadata": {"name": "controller"}}]
    (told,) = problems(serving, selection_mode="inclusion")
    assert told == (
        "selection_mode: the chosen components have no Deployment eventing-webhook to set it in"
    )


def test_brokers_get_another_class_with_the_configuration_it_takes(objects: list[Object]) -> None:
    key, of = "default-br-config", ("ConfigMap", "config-br-defaults")
    text = changed(objects, *of, broker_class="Kafka")["data"][key]
    assert "brokerClass: Kafka\n" in text
    assert "name: kafka-broker-config\n" in text
    text = changed(objects, *of, broker_class="Mine")["data"][key]
    assert "brokerClass: Mine\n" in text
    assert "name: config-br-default-channel\n" in text


def test_certificates_pull_secrets_and_selection_mode(objects: list[Object]) -> None:
    certs = {"type": "Secret", "name": "our-ca"}
    controller = pod(
        changed(
            objects, "Deployment", "controller", custom_certs=certs, image_pull_secrets=["pull"]
        )
    )
    assert controller["volumes"][-1] == {
        "name": "custom-certs-our-ca",
        "secret": {"secretName": "our-ca"},
    }
    (container,) = controller["containers"]
    assert {"name": "custom-certs-our-ca", "mountPath": "/custom-certs"} in container[
        "volumeMounts"
    ]
    assert {"name": "SSL_CERT_DIR", "value": "/custom-certs"} in container["env"]
    assert controller["imagePullSecrets"] == [{"name": "pull"}]
    webhook = pod(changed(objects, "Deployment", "eventing-webhook", selection_mode="inclusion"))
    mode = {"name": "SINK_BINDING_SELECTION_MODE", "value": "inclusion"}
    assert mode in webhook["containers"][0]["env"]


def test_services_and_namespaces_get_labels_and_annotations(objects: list[Object]) -> None:
    services = [
        {"name": "all", "labels": {"a": "b"}, "annotations": None},
        {"name": "kourier", "annotations": {"c": "d"}},
    ]
    kourier = changed(objects, "Service", "kourier", services=services)["metadata"]
    assert kourier["labels"]["a"] == "b"
    assert kourier["annotations"]["c"] == "d"
    metadata = {"labels": {"e": "f"}, "annotations": {"g": "h"}}
    space = changed(objects, "Namespace", "knative-serving", namespace_metadata=metadata)
    assert space["metadata"]["labels"]["e"] == "f"
    assert space["metadata"]["annotations"]["g"] == "h"
