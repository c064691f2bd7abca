"""Apply sets with a scope: what is another owner's is refused, what is one's own is found again after a move."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.kube import Kube, Object, Outcome, api_server, config_map, namespace

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply_set import (
    ID,
    PART_OF,
    PREDECESSORS,
    SCOPE,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused
from ansible_collections.streamops.knative.plugins.modules.apply import TASK


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server."""
    with api_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def options(space: str, scope: str, name: str = "pipelines") -> dict[str, Any]:
    return {
        "apply_set": name,
        "apply_set_namespace": space,
        "apply_set_scope": scope,
        "namespaces": "create",
    }


def deploy(kube: Kube, space: str, scope: str, *objects: Object, **given: Any) -> Outcome:
    bundle = (namespace(space), *objects)
    return kube.apply(*bundle, **{"prune": True, **options(space, scope), **given})


def parent(kube: Kube, space: str, name: str = "pipelines") -> Object | None:
    return kube.get("v1", "ConfigMap", name, space)


def test_a_set_is_recorded_in_a_namespace_that_its_bundle_brings(kube: Kube) -> None:
    ours = config_map("settings", "brought")
    assert deploy(kube, "brought", "team-a", ours).actions["Namespace brought"] == "created"
    record = parent(kube, "brought")
    assert record is not None
    assert record["metadata"]["labels"][SCOPE] == "team-a"
    made = kube.get("v1", "ConfigMap", "settings", "brought")
    assert made is not None
    assert made["metadata"]["labels"][SCOPE] == "team-a"
    assert not deploy(kube, "brought", "team-a", ours).result["changed"]
    gone = kube.run(TASK, state="absent", wait=False, **options("brought", "team-a"))
    assert gone.actions["Namespace brought"] == "deleted", gone.warnings


def test_a_set_of_another_scope_is_refused_with_its_owner(kube: Kube) -> None:
    deploy(kube, "owned", "team-a", config_map("theirs", "owned"))
    with pytest.raises(Refused, match="belongs to the scope 'team-a', not to 'team-b'"):
        deploy(kube, "owned", "team-b")
    with pytest.raises(Refused, match="belongs to the scope 'team-a'"):
        kube.run(TASK, state="absent", wait=False, **options("owned", "team-b"))
    assert kube.get("v1", "ConfigMap", "theirs", "owned")


def test_an_object_of_another_scope_is_refused_with_its_owner(kube: Kube) -> None:
    deploy(kube, "shared", "team-a", config_map("theirs", "shared"))
    for scope in ("team-b", ""):
        with pytest.raises(Refused, match="ConfigMap shared/theirs belongs to the scope 'team-a'"):
            kube.apply(config_map("theirs", "shared"), **options("default", scope, f"b{scope}"))


def test_scopes_of_the_same_set_do_not_prune_each_other(kube: Kube) -> None:
    deploy(kube, "first", "one", config_map("a", "first"))
    deploy(kube, "second", "two", config_map("b", "second"))
    deploy(kube, "second", "two")
    assert kube.get("v1", "ConfigMap", "b", "second") is None
    assert kube.get("v1", "ConfigMap", "a", "first")


def test_a_set_that_moved_takes_its_members_along(kube: Kube) -> None:
    deploy(kube, "old", "movers", config_map("a", "old"), config_map("b", "old"))
    foreseen = deploy(kube, "new", "movers", config_map("a", "new"), check=True)
    moved = deploy(kube, "new", "movers", config_map("a", "new"))
    assert foreseen.result["objects"] == moved.result["objects"]
    assert moved.actions["ConfigMap b"] == "pruned"
    assert moved.actions["Namespace old"] == "pruned"
    record = parent(kube, "new")
    assert record is not None
    assert PREDECESSORS not in record["metadata"]["annotations"]


def test_a_set_without_a_scope_is_adopted_by_whom_its_objects_are(kube: Kube) -> None:
    before = {"apply_set": "earlier", "namespaces": "create", "prune": True}
    kube.apply(namespace("mine"), config_map("a", "mine"), config_map("b", "mine"), **before)
    assert parent(kube, "default", "earlier")
    deploy(kube, "not-mine", "others", apply_set="earlier")
    assert kube.get("v1", "ConfigMap", "b", "mine")
    ours = {"apply_set": "earlier", "prune": False}
    deploy(kube, "mine", "me", config_map("a", "mine"), **ours)
    assert kube.get("v1", "ConfigMap", "b", "mine")
    record = parent(kube, "mine", "earlier")
    assert record is not None
    assert record["metadata"]["annotations"][PREDECESSORS] == "default"
    after = deploy(kube, "mine", "me", config_map("a", "mine"), apply_set="earlier")
    assert after.actions["ConfigMap b"] == "pruned"
    assert parent(kube, "default", "earlier") is None
    kept, record = kube.get("v1", "ConfigMap", "a", "mine"), parent(kube, "mine", "earlier")
    assert kept is not None
    assert record is not None
    assert kept["metadata"]["labels"][PART_OF] == record["metadata"]["labels"][ID]
    assert not deploy(kube, "mine", "me", config_map("a", "mine"), apply_set="earlier").result[
        "changed"
    ]


def test_a_set_without_a_scope_is_adopted_to_be_removed(kube: Kube) -> None:
    before = {"apply_set": "leaving", "namespaces": "create", "prune": True}
    kube.apply(namespace("leaves"), config_map("a", "leaves"), **before)
    gone = kube.run(TASK, state="absent", wait=False, **options("leaves", "me", "leaving"))
    assert gone.actions == {"Namespace leaves": "deleted", "ConfigMap a": "deleted"}
    assert parent(kube, "default", "leaving") is None
