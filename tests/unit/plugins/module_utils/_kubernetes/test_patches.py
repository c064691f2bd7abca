"""Patches, order and diffs."""

from __future__ import annotations

from typing import Any

import pytest
from support.kube import config_map

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.diff import (
    changed,
    difference,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Refused,
    Source,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.order import wave
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.patches import (
    Patch,
    merge,
    patched,
)


@pytest.mark.parametrize(
    ("base", "change", "result"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        (
            [{"name": "x", "v": 1}, {"name": "y", "v": 1}],
            [{"name": "y", "v": 2}, {"name": "z"}],
            [{"name": "x", "v": 1}, {"name": "y", "v": 2}, {"name": "z"}],
        ),
        ([{"name": "x", "rules": [1]}], [{"name": "x", "rules": None}], [{"name": "x"}]),
        ([{"id": 1}], [{"name": "x"}], [{"name": "x"}]),
        (None, {"a": 1}, {"a": 1}),
    ],
)
def test_merge(base: Any, change: Any, result: Any) -> None:
    assert merge(base, change) == result


def test_patches_choose_their_objects_and_spare_the_rest() -> None:
    sources = [Source(config_map("a", a="1"), "o"), Source(config_map("b", a="1"), "o")]
    one, two = patched(sources, [Patch({"data": {"a": "2"}}, kind="ConfigMap", name="a")])
    assert one.definition["data"] == {"a": "2"}
    assert two.definition["data"] == {"a": "1"}
    assert sources[0].definition["data"] == {"a": "1"}


def test_a_patch_that_meets_nothing_is_refused() -> None:
    sources = [Source(config_map("a"), "o")]
    with pytest.raises(Refused, match=r"patches\[0\]: no Secret default/b is in the bundle"):
        patched(sources, [Patch({}, kind="Secret", name="b", namespace="default")])
    assert patched(sources, [Patch({}, kind="Secret", optional=True)]) == sources


def test_order() -> None:
    order = [
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("", "ConfigMap"),
        ("", "Service"),
        ("apps", "Deployment"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("batch", "Job"),
        ("serving.knative.dev", "Service"),
        ("sources.knative.dev", "SinkBinding"),
    ]
    waves = [wave(*kind) for kind in order]
    assert waves == sorted(set(waves))


def manager(name: str, time: str = "t", **fields: Any) -> dict[str, Any]:
    return {"manager": name, "operation": "Apply", "time": time, "fieldsV1": fields}


def test_a_change_is_in_the_content_or_in_the_owners() -> None:
    before = config_map("a", x="1")
    before["metadata"].update(resourceVersion="1", managedFields=[manager("me")])
    same = config_map("a", x="1")
    same["metadata"].update(resourceVersion="2", managedFields=[manager("me", "later")])
    same["status"] = {"seen": True}
    assert not changed(before, same)
    assert changed(before, {**same, "data": {"x": "2"}})
    same["metadata"]["managedFields"].append(manager("you", x={}))
    assert changed(before, same)
    taken = difference(before, same, "ConfigMap a")
    assert "- me\n- you" in taken["after"]


def test_a_secret_s_values_never_show() -> None:
    def secret(**data: str) -> dict[str, Any]:
        return {**config_map("s"), "kind": "Secret", "data": data}

    old, new = secret(a="b2xk", b="c2FtZQ=="), secret(a="bmV3", b="c2FtZQ==", c="bW9yZQ==")
    new["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/last-applied-configuration": "bmV3",
    }
    shown = difference(old, new, "Secret s")
    text = shown["before"] + shown["after"]
    assert not any(value in text for value in ("b2xk", "bmV3", "c2FtZQ==", "bW9yZQ=="))
    assert "a: '******** (changed)'" in shown["after"]
    assert "c: '********'" in shown["after"]
    created = difference(None, new, "Secret s")
    assert created["before"] == ""
    assert "bmV3" not in created["after"]
