"""Telling from managedFields that an apply would change nothing."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.managed_fields import (
    is_applied,
)

Object = dict[str, Any]

WANTED: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "namespace": "default", "labels": {"a": "b"}},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "app"}},
        "template": {
            "spec": {
                "containers": [{"name": "main", "ports": [{"containerPort": 80}], "args": ["x"]}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
FIELDS: Object = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"main"}': {
                        ".": {},
                        "f:name": {},
                        "f:args": {},
                        "f:ports": {
                            'k:{"containerPort":80,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                            }
                        },
                    }
                },
                "f:volumes": {
                    'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}},
                },
            }
        },
    },
}


def live(**changes: Any) -> Object:
    obj = copy.deepcopy(WANTED)
    obj["metadata"]["managedFields"] = [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": copy.deepcopy(FIELDS),
            **changes,
        }
    ]
    # What the server adds.
    obj["spec"]["paused"] = False
    container = obj["spec"]["template"]["spec"]["containers"][0]
    container["ports"][0]["protocol"] = "TCP"
    container["imagePullPolicy"] = "Always"
    return obj


def test_the_same_again_is_applied() -> None:
    assert is_applied(WANTED, live(), "me")


@pytest.mark.parametrize(
    ("value", "applied"), [(False, True), ({}, True), (0, True), (True, False), (None, False)]
)
def test_the_server_leaves_empty_values_out(value: Any, applied: bool) -> None:
    found = live()
    del found["spec"]["paused"]
    found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:paused"] = {}
    wanted = copy.deepcopy(WANTED)
    wanted["spec"]["paused"] = value
    assert is_applied(wanted, found, "me") is applied


@pytest.mark.parametrize(
    ("stored", "applied"),
    [
        ({"fieldPath": "metadata.name", "apiVersion": "v1"}, True),
        ({"fieldPath": "metadata.name"}, True),  # as custom resources have it
        ({"fieldPath": "metadata.name", "apiVersion": "v2"}, False),
        ({"fieldPath": "metadata.uid", "apiVersion": "v1"}, False),
    ],
)
def test_a_field_selector_has_a_default_within(stored: Object, applied: bool) -> None:
    path = "spec.template.spec.containers.0.env"
    variable: Object = {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    found = live()
    pod = found["spec"]["template"]["spec"]
    pod["containers"][0]["env"] = [{"name": "NAME", "valueFrom": {"fieldRef": stored}}]
    owned = found["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:template"]["f:spec"]
    owned["f:containers"]['k:{"name":"main"}']["f:env"] = {
        'k:{"name":"NAME"}': {".": {}, "f:name": {}, "f:valueFrom": {"f:fieldRef": {}}}
    }
    assert is_applied(edit(path, [variable]), found, "me") is applied


@pytest.mark.parametrize(
    "changes",
    [
        {"manager": "other"},
        {"operation": "Update"},
        {"subresource": "status"},
        {"apiVersion": "apps/v1beta1"},
    ],
)
def test_only_our_own_apply_of_the_same_version_counts(changes: Object) -> None:
    assert not is_applied(WANTED, live(**changes), "me")


def edit(path: str, value: Any) -> Object:
    changed = copy.deepcopy(WANTED)
    node: Any = changed
    *parts, last = path.split(".")
    for part in parts:
        node = node[int(part)] if part.isdigit() else node[part]
    if value is None:
        del node[last]
    else:
        node[int(last) if last.isdigit() else last] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.replicas", 2),
        ("spec.replicas", "1"),
        ("spec.replicas", True),
        ("spec.replicas", None),
        ("spec.minReadySeconds", 3),
        ("spec.selector.matchLabels.more", "x"),
        ("metadata.labels.a", "c"),
        ("metadata.labels", None),
        ("metadata.annotations", {"x": "y"}),
        ("spec.template.spec.containers.0.name", "other"),
        ("spec.template.spec.containers.0.args", ["x", "y"]),
        ("spec.template.spec.containers.0.ports.0.containerPort", 81),
        ("spec.template.spec.containers.0.ports.0.name", "http"),
        ("spec.template.spec.containers", [{"name": "main"}, {"name": "second"}]),
        ("spec.template.spec.volumes", []),
        ("spec.template.spec.volumes.0.emptyDir", {"medium": "Memory"}),
    ],
)
def test_any_difference_is_left_to_the_server(path: str, value: Any) -> None:
    assert not is_applied(edit(path, value), live(), "me")


def test_a_value_somebody_else_changed_is_left_to_the_server() -> None:
    changed = live()
    changed["spec"]["replicas"] = 5
    assert not is_applied(WANTED, changed, "me")
    gone = live()
    del gone["spec"]["template"]["spec"]["containers"][0]["args"]
    assert not is_applied(WANTED, gone, "me")


def test_an_empty_map_the_server_left_out_is_applied() -> None:
    wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {}}
    entry = {"manager": "me", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1"}
    entry["fieldsV1"] = {"f:data": {}}
    there = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "x", "managedFields": [entry]},
    }
    assert is_applied(wanted, there, "me")
    assert not is_applied({**wanted, "data": {"a": "1"}}, there, "me")
    assert not is_applied({**wanted, "binaryData": {}}, there, "me"), "it was never applied"


def test_sets_compare_by_value() -> None:
    wanted = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"name": "x", "finalizers": ["a", "b"]},
    }
    fields = {"f:metadata": {"f:finalizers": {'v:"a"': {}, 'v:"b"': {}}}}
    there = copy.deepcopy(wanted)
    there["metadata"]["finalizers"] = ["b", "other", "a"]
    there["metadata"]["managedFields"] = [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
    ]
    assert is_applied(wanted, there, "me")
    wanted["metadata"]["finalizers"] = ["a"]
    assert not is_applied(wanted, there, "me")


def test_who_only_wants_it_to_exist_owns_nothing() -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}
    assert is_applied(namespace, namespace, "me")
