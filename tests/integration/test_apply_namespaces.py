"""Namespaces that others created: they are neither changed nor deleted, and what was set on them is given back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.kube import Kube, Object, Outcome, api_server, config_map, namespace

from ansible_collections.streamops.knative.plugins.modules.apply import TASK

LABEL = "pod-security.kubernetes.io/enforce"


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server."""
    with api_server(tmp_path_factory.mktemp("server")) as server:
        yield server


def labelled(name: str) -> Object:
    return namespace(name) | {"metadata": {"name": name, "labels": {LABEL: "restricted"}}}


def theirs(kube: Kube, name: str) -> None:
    """Create a namespace as kubectl does, with a label of its owner."""
    client = kube.connect()
    made = namespace(name) | {"metadata": {"name": name, "labels": {"team": "theirs"}}}
    client.create(client.resource("v1", "Namespace"), made)


def deploy(kube: Kube, name: str, mode: str) -> Outcome:
    return kube.apply(
        labelled(name),
        config_map("ours", name),
        apply_set=f"set-{name}",
        prune=True,
        namespaces=mode,
    )


def remove(kube: Kube, name: str, mode: str = "create", *, check: bool = False) -> Outcome:

    options = {"apply_set": f"set-{name}", "namespaces": mode, "wait": False}
    return kube.run(TASK, check=check, state="absent", **options)


def labels(kube: Kube, name: str) -> dict[str, str]:
    found = kube.get("v1", "Namespace", name)
    assert found is not None, f"{name} is gone"
    given: dict[str, str] = found["metadata"].get("labels") or {}
    return {key: text for key, text in given.items() if not key.startswith("kubernetes.io/")}


def test_a_namespace_that_was_created_here_is_deleted_with_its_set(kube: Kube) -> None:
    assert deploy(kube, "made", "create").actions["Namespace made"] == "created"
    assert not deploy(kube, "made", "create").result["changed"]
    assert remove(kube, "made").actions["Namespace made"] == "deleted"


@pytest.mark.parametrize("mode", ["create", "label"])
def test_a_namespace_of_others_is_kept_with_its_own_labels(kube: Kube, mode: str) -> None:
    name = f"theirs-{mode}"
    theirs(kube, name)
    outcome = deploy(kube, name, mode)
    if mode == "create":
        assert labels(kube, name) == {"team": "theirs"}
        assert f"Namespace {name} was not created by this collection" in outcome.warnings[0]
    else:
        assert labels(kube, name)[LABEL] == "restricted"
    assert not deploy(kube, name, mode).result["changed"]
    assert kube.get("v1", "ConfigMap", "ours", name)
    remove(kube, name, mode)
    assert kube.get("v1", "ConfigMap", "ours", name) is None
    assert labels(kube, name) == {"team": "theirs"}
    assert not remove(kube, name, mode).result["changed"]


def test_check_mode_foresees_that_it_is_kept(kube: Kube) -> None:
    theirs(kube, "foreseen")
    deploy(kube, "foreseen", "label")
    assert remove(kube, "foreseen", check=True).actions["Namespace foreseen"] == "kept"


def test_a_namespace_without_the_mark_of_an_earlier_version_is_known_by_its_age(kube: Kube) -> None:
    kube.apply(labelled("earlier"), config_map("ours", "earlier"), apply_set="set-earlier")
    assert deploy(kube, "earlier", "create").actions["Namespace earlier"] == "changed"
    assert remove(kube, "earlier").actions["Namespace earlier"] == "deleted"
