"""What stands against installing Knative on a cluster is told, all of it, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube, api_server, definition, deployment, namespace

from ansible_collections.streamops.knative.plugins.module_utils._knative import releases
from ansible_collections.streamops.knative.plugins.module_utils._knative.bundle import (
    DesiredState,
    refusals,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.installation import (
    is_autopilot,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import Version
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.modules.knative import TASK
from streamops_sandbox.knative import release

WANTED: dict[str, Any] = {
    "components": ["serving", "kourier", "eventing"],
    "serving_version": "1.23.0",
    "kourier_version": "1.23.0",
    "eventing_version": "1.23.0",
}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


def refusal(kube: Kube, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        kube.run(TASK, **{**WANTED, **options})
    return str(refused.value)


def test_missing_permissions_and_an_old_kubernetes_are_told_together(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "looks-on"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:aggregate-to-view",  # no controller fills "view" here
            },
            "subjects": [{"kind": "User", "name": "onlooker"}],
        }
    )
    monkeypatch.setitem(releases._KUBERNETES, 25, 99)  # a release to come
    told = refusal(kube, impersonate_user="onlooker", serving_version="1.25.0")
    assert "may not create, patch and delete namespaces, configmaps, secrets" in told
    assert "customresourcedefinitions.apiextensions.k8s.io" in told
    assert "takes the role cluster-admin" in told
    assert "serving_version: 1.25.0 needs Kubernetes 1.99, the cluster has v1." in told
    assert "upgrade the cluster, or choose an older serving_version" in told
    components = ["serving", "kourier", "eventing"]
    versions = {project: Version(1, 23, 0) for project in components}
    desired = DesiredState(components, versions, releases.Source())
    assert refusals(kube.connect(), desired, {}) == [], "an administrator may"


def test_other_images_are_run_in_place_of_those_that_are_written(
    kube: Kube, tmp_path: Path
) -> None:
    for name in ("serving-crds", "serving-core", "serving-post-install-jobs"):
        (tmp_path / f"{name}.yaml").write_text(
            release.render("knative/serving", "1.23.0", name) or ""
        )
    path = "knative-releases/knative.dev/serving/cmd"
    images = {
        f"gcr.io/{path}/{name}:v1.23.0": f"local/{path}/{name}:2"
        for name in ("queue", "webhook", "migrate")
    }
    older = deployment("an-old-one", "knative-serving")  # so that there is something to migrate
    older["metadata"]["labels"] = {"app.kubernetes.io/version": "1.22.0"}
    kube.apply(namespace("knative-serving"), older)
    foreseen = kube.run(
        TASK, check=True, diff=True, components=["serving"], serving_version="1.23.0",
        folder=str(tmp_path), references=images, adopt=True,
    )  # fmt: skip
    kube.apply(older, state="absent")
    diff = json.dumps(foreseen.result["diff"])
    for old, new in images.items():
        assert old not in diff
        assert new in diff
    assert f"gcr.io/{path}/controller:v1.23.0" in diff
    with pytest.raises(TaskError, match=r"references: .* not text"):
        kube.run(TASK, **WANTED, references={"a": 1})


def test_an_autopilot_cluster_is_told_by_its_nodes(kube: Kube) -> None:
    assert not is_autopilot(kube.connect())
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gk3-pool-1-abcd"}}
    kube.apply(node)
    assert is_autopilot(kube.connect())
    kube.apply(node, state="absent")


def test_what_the_operator_governs_is_left_to_it(kube: Kube) -> None:
    crd = definition("KnativeServing", group="operator.knative.dev")
    crd["spec"]["versions"][0]["name"] = "v1beta1"
    governed = {
        "apiVersion": "operator.knative.dev/v1beta1",
        "kind": "KnativeServing",
        "metadata": {"name": "serving", "namespace": "default"},
        "spec": {},
    }
    kube.apply(crd, governed)
    told = refusal(kube, adopt=True)
    assert "The Knative Operator governs this installation" in told
    assert "KnativeServing default/serving" in told
    kube.apply(crd, governed, state="absent")
