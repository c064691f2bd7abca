"""Knative's releases: versions, files, upgrades, patches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._knative.bundle import (
    DesiredState,
    extra_objects,
    patches,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.installation import (
    unknown_minimum,
    upgrade_problem,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import (
    COMPONENTS,
    Source,
    Version,
    check_components,
    ingress_of,
    minimum_kubernetes,
    project_of_deployment,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.download import Download
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.patches import Patch

ALL = [name for name in COMPONENTS if name not in ("net-gateway-api", "net-istio")]
VERSIONS = {
    "serving": Version(1, 23, 0),
    "kourier": Version(1, 23, 0),
    "eventing": Version(1, 22, 2),
}


@pytest.mark.parametrize("text", ["1.23.0", "v1.23.0", "knative-v1.23.0"])
def test_versions_are_read_in_all_their_forms(text: str) -> None:
    assert Version.parse(text, "x") == Version(1, 23, 0)


@pytest.mark.parametrize("text", ["1.23", "latest", "", "1.23.0-rc1"])
def test_what_is_no_version_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(KubeError, match=r"serving_version: .*write it as 1.23.0"):
        Version.parse(text, "serving_version")


@pytest.mark.parametrize(
    ("have", "want", "problem"),
    [
        (None, "1.23.0", ""),
        ("1.22.0", "1.22.5", ""),
        ("1.22.5", "1.22.0", ""),
        ("1.22.5", "1.23.0", ""),
        ("1.21.5", "1.23.0", "set the newest 1.22.x first, run, then go on to 1.23.0"),
        ("1.23.0", "1.22.9", "does not go back a minor release: set 1.23.0 or newer"),
        ("1.23.0", "2.0.0", "one minor release at a time"),
    ],
)
def test_upgrades_go_one_minor_release_at_a_time(have: str | None, want: str, problem: str) -> None:
    installed = Version.parse(have, "x") if have else None
    found = upgrade_problem("serving", installed, Version.parse(want, "x"))
    assert problem in found
    assert bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("minor", "kubernetes"), [(21, 33), (22, 34), (23, 34), (24, 35), (17, 30)]
)
def test_the_oldest_kubernetes(minor: int, kubernetes: int) -> None:
    assert minimum_kubernetes(Version(1, minor, 0)) == (1, kubernetes)


@pytest.mark.parametrize("version", [Version(1, 99, 0), Version(1, 3, 0), Version(2, 23, 0)])
def test_the_oldest_kubernetes_of_an_unknown_release_is_unknown(version: Version) -> None:
    assert minimum_kubernetes(version) is None
    assert f"which Kubernetes {version} needs at least is unknown" in unknown_minimum("x", version)
    assert unknown_minimum("x", Version(1, 23, 0)) == ""


def test_components_need_each_other() -> None:
    assert check_components(ALL) == []
    assert check_components(["kourier"]) == [
        "components: 'kourier' needs 'serving': add it, or leave both out"
    ]
    assert "'istio' is unknown; there are serving, kourier" in check_components(["istio"])[0]


def test_services_are_routed_by_one_ingress() -> None:
    assert check_components(["serving", "kourier", "net-istio"]) == [
        "components: kourier and net-istio are ingresses, and Knative routes services by one: keep one of them"
    ]
    assert [ingress_of(["serving", name]) for name in ("kourier", "net-istio", "hpa")] == [
        "kourier",
        "net-istio",
        "",
    ]


@pytest.mark.parametrize(
    ("namespace", "name", "project"),
    [
        ("knative-serving", "activator", "serving"),
        ("knative-serving", "net-kourier-controller", "kourier"),
        ("kourier-system", "3scale-kourier-gateway", "kourier"),
        ("kourier-system", "something-else", "kourier"),
        ("knative-serving", "net-istio-webhook", "net_istio"),
        ("knative-serving", "net-gateway-api-controller", "net_gateway_api"),
        ("knative-eventing", "eventing-controller", "eventing"),
    ],
)
def test_deployments_belong_to_a_project(namespace: str, name: str, project: str) -> None:
    assert project_of_deployment(namespace, name) == project


@pytest.mark.parametrize(
    ("ingress", "ingress_class"),
    [
        ("kourier", "kourier.ingress.networking.knative.dev"),
        ("net-gateway-api", "gateway-api.ingress.networking.knative.dev"),
        ("net-istio", "istio.ingress.networking.knative.dev"),
    ],
)
def test_the_ingress_class_is_that_of_the_chosen_ingress(ingress: str, ingress_class: str) -> None:
    changes = patches(desired(components=["serving", ingress], versions={}))
    network = [change for change in changes if change.name == "config-network"]
    assert [change.merge["data"]["ingress-class"] for change in network] == [ingress_class]
    services = [change for change in changes if change.kind == "Service"]
    assert bool(services) == (ingress == "kourier"), "only Kourier brings a gateway"


def test_urls_have_upstream_s_layout_also_on_a_mirror() -> None:
    checksums = {"serving-1.23.0/serving-core.yaml": "sha256:abc"}
    source = Source("https://mirror.example.com/", checksums=checksums)
    files = source.files(["kourier", "serving"], VERSIONS)
    base = "https://mirror.example.com/knative/serving/releases/download/knative-v1.23.0"
    extensions = "https://mirror.example.com/knative-extensions/net-kourier/releases/download"
    assert files.urls == [
        Download(f"{base}/serving-crds.yaml"),
        Download(f"{base}/serving-core.yaml", "sha256:abc"),
        Download(f"{extensions}/knative-v1.23.0/kourier.yaml"),
    ]


def test_a_folder_has_to_hold_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "serving-crds.yaml").touch()
    with pytest.raises(KubeError, match=r"has no serving-core.yaml: put the release files there"):
        Source(folder=str(tmp_path)).files(["serving"], VERSIONS)
    core = tmp_path / "serving-core.yaml"
    core.write_text('  labels:\n    app.kubernetes.io/version: "1.22.1"\n')
    source = Source(folder=str(tmp_path))
    assert source.files(["serving"], VERSIONS).paths == [
        str(tmp_path / "serving-crds.yaml"),
        str(core),
    ]
    assert "is release 1.22.1, not 1.23.0" in source.contradiction("serving", VERSIONS["serving"])
    assert source.post_install(["serving"], VERSIONS).paths == []


def desired(**changes: Any) -> DesiredState:
    options = {"components": ALL, "versions": VERSIONS, "source": Source()}
    return DesiredState(**{**options, **changes})


def found(made: list[Patch], kind: str, name: str) -> dict[str, Any]:
    (one,) = [patch for patch in made if (patch.kind, patch.name) == (kind, name)]
    merged: dict[str, Any] = one.merge
    return merged


def test_patches_configure_kourier_and_leave_the_webhooks_their_rules() -> None:
    made = patches(desired(gateway={"service_type": "NodePort", "node_port": 31080}))
    assert found(made, "ConfigMap", "config-network")["data"] == {
        "ingress-class": "kourier.ingress.networking.knative.dev"
    }
    assert found(made, "Service", "kourier")["spec"] == {
        "type": "NodePort",
        "ports": [{"name": "http2", "nodePort": 31080}],
    }
    rules = found(made, "ValidatingWebhookConfiguration", "validation.webhook.serving.knative.dev")
    assert rules["webhooks"][0]["rules"] is None


def test_configuration_becomes_text_and_spares_the_example() -> None:
    config = {"eventing": {"config-features": {"flag": True, "number": 3}}}
    made = patches(desired(config=config))
    assert found(made, "ConfigMap", "config-features")["data"] == {"flag": "true", "number": "3"}
    with pytest.raises(Refused, match="config-features: _example documents the map"):
        patches(desired(config={"serving": {"config-features": {"_example": "x"}}}))
    without = desired(components=["serving"], config=config)
    assert all(patch.name != "config-features" for patch in patches(without))


def test_on_autopilot_pods_wait_for_the_node_that_is_added_for_them() -> None:
    key, name = "pod-is-always-schedulable", "config-deployment"
    assert found(patches(desired(autopilot=True)), "ConfigMap", name)["data"] == {key: "true"}
    assert all(patch.name != name for patch in patches(desired()))
    eventing = desired(autopilot=True, components=["eventing"])
    assert all(patch.name != name for patch in patches(eventing))
    own = {"serving": {name: {key: False}}}
    of_both = [p for p in patches(desired(autopilot=True, config=own)) if p.name == name]
    assert of_both[-1].merge["data"] == {key: "false"}, "what is set counts"


def test_what_eventing_1_22_forgot_is_supplied_to_it_only() -> None:
    assert [obj["kind"] for obj in extra_objects(desired())] == [
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
    ]
    assert extra_objects(desired(components=["serving"])) == []
    newer = {**VERSIONS, "eventing": Version(1, 23, 0)}
    assert extra_objects(desired(versions=newer)) == []
