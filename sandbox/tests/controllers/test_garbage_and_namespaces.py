"""What goes when its owner or its namespace goes, and what every namespace gets."""

from __future__ import annotations

import uuid
from typing import Any

from kubernetes.dynamic.exceptions import NotFoundError
from support.sandbox import Cluster, until


def config_map(
    namespace: str, name: str, *owners: dict[str, Any], **metadata: Any
) -> dict[str, Any]:
    references = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "ownerReferences": references,
            **metadata,
        },
    }


def create(cluster: Cluster, obj: dict[str, Any]) -> dict[str, Any]:
    metadata = obj["metadata"]
    cluster.apply(obj)
    return cluster.get("v1", "ConfigMap", metadata["name"], metadata["namespace"])


def names(cluster: Cluster, namespace: str) -> set[str]:
    found = {obj["metadata"]["name"] for obj in cluster.list("v1", "ConfigMap", namespace)}
    return found - {"kube-root-ca.crt"}


def test_dependents_follow_in_the_background_but_not_while_another_owner_lives(
    cluster: Cluster, namespace: str
) -> None:
    first, second = (create(cluster, config_map(namespace, name)) for name in ("first", "second"))
    create(cluster, config_map(namespace, "one", first))
    shared = create(cluster, config_map(namespace, "both", first, second))
    cluster.delete("v1", "ConfigMap", "first", namespace, propagationPolicy="Background")
    until(lambda: names(cluster, namespace) == {"second", "both"}, "the dependent's end")
    until(
        lambda: (
            len(cluster.get("v1", "ConfigMap", "both", namespace)["metadata"]["ownerReferences"])
            == 1
        ),
        "the dead reference's end",
    )
    assert (
        cluster.get("v1", "ConfigMap", "both", namespace)["metadata"]["uid"]
        == (shared["metadata"]["uid"])
    )
    cluster.delete("v1", "ConfigMap", "second", namespace)
    until(lambda: not names(cluster, namespace), "all to be gone")


def test_in_the_foreground_the_owner_goes_last(cluster: Cluster, namespace: str) -> None:
    owner = create(cluster, config_map(namespace, "owner"))
    create(cluster, config_map(namespace, "held", owner, finalizers=["test/hold"]))
    create(cluster, config_map(namespace, "free", owner))
    cluster.delete("v1", "ConfigMap", "owner", namespace, propagationPolicy="Foreground")
    until(lambda: names(cluster, namespace) == {"owner", "held"}, "the free dependent's end")
    assert cluster.get("v1", "ConfigMap", "owner", namespace)["metadata"]["deletionTimestamp"]
    cluster.patch("v1", "ConfigMap", "held", namespace, {"metadata": {"finalizers": None}})
    until(lambda: not names(cluster, namespace), "all to be gone")


def test_an_owner_that_never_was_is_no_owner(cluster: Cluster, namespace: str) -> None:
    ghost = {"metadata": {"name": "ghost", "uid": str(uuid.uuid4())}}
    create_only = config_map(namespace, "child", ghost)
    cluster.apply(create_only)
    until(lambda: not names(cluster, namespace), "the orphan's end")


def test_custom_objects_are_collected_too(cluster: Cluster, namespace: str) -> None:
    group = f"g{uuid.uuid4().hex[:8]}.example.com"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    cluster.apply(crd)
    until(
        lambda: any(
            entry["type"] == "Established" and entry["status"] == "True"
            for entry in cluster.get(
                "apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{group}"
            )["status"].get("conditions")
            or []
        ),
        "the CRD",
    )
    owner = create(cluster, config_map(namespace, "owner"))
    thing = {**config_map(namespace, "thing", owner), "apiVersion": f"{group}/v1", "kind": "Thing"}
    cluster.dynamic.resources.invalidate_cache()
    cluster.apply(thing)
    cluster.delete("v1", "ConfigMap", "owner", namespace)
    until(lambda: not cluster.list(f"{group}/v1", "Thing", namespace), "the custom object's end")
    cluster.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"things.{group}")


def test_a_namespace_gets_what_pods_need_and_keeps_it(cluster: Cluster, namespace: str) -> None:
    cluster.delete("v1", "ServiceAccount", "default", namespace)
    cluster.delete("v1", "ConfigMap", "kube-root-ca.crt", namespace)
    until(lambda: cluster.list("v1", "ServiceAccount", namespace), "the service account")
    found = until(lambda: cluster.list("v1", "ConfigMap", namespace), "the certificate")
    assert "BEGIN CERTIFICATE" in found[0]["data"]["ca.crt"]


def test_a_deleted_namespace_takes_its_content_and_waits_for_it(cluster: Cluster) -> None:
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    until(lambda: cluster.list("v1", "ServiceAccount", name), "the default service account")
    cluster.apply(cluster.python_pod("pod", name, "import time; time.sleep(600)"))
    create(cluster, config_map(name, "held", finalizers=["test/hold"]))
    cluster.delete("v1", "Namespace", name)
    until(lambda: names(cluster, name) == {"held"} and not cluster.pods(name), "its content's end")
    assert cluster.get("v1", "Namespace", name)["status"]["phase"] == "Terminating"
    cluster.patch("v1", "ConfigMap", "held", name, {"metadata": {"finalizers": None}})

    def gone() -> bool:
        try:
            cluster.get("v1", "Namespace", name)
        except NotFoundError:
            return True
        return False

    until(gone, "its end")
