"""Every image that a release names is found, wherever it is written, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from support.kube import KNATIVE

from ansible_collections.streamops.knative.plugins.module_utils._knative.images import (
    is_reference,
    references,
    replaced,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Manifests,
)

Object = dict[str, Any]
DIGEST = f"sha256:{'a' * 64}"


def definition(kind: str, **body: Any) -> Object:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "one"}, **body}


def in_pods(**pod: Any) -> Object:
    return {"spec": {"template": {"spec": pod}}}


def test_images_are_found_in_containers_variables_config_maps_and_image_objects() -> None:
    container = {
        "name": "main",
        "image": "example.com/main:1",
        "env": [
            {"name": "ADAPTER_IMAGE", "value": f"example.com/adapter@{DIGEST}"},
            {"name": "SINK", "value": "http://example.com/adapter:80"},
            {"name": "FROM", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}},
        ],
    }
    definitions = [
        definition("Deployment", **in_pods(containers=[container])),
        definition("Job", **in_pods(initContainers=[{"name": "first", "image": "busybox"}])),
        definition(
            "ConfigMap", data={"queue-sidecar-image": "example.com/queue:1", "note": "a/b:c"}
        ),
        definition("Image", spec={"image": "example.com/queue:1"}),
        definition(
            "CustomResourceDefinition", **in_pods(containers=[{"image": "example.com/no:1"}])
        ),
    ]
    assert [references(one) for one in definitions] == [
        ["example.com/main:1", f"example.com/adapter@{DIGEST}"],
        ["busybox"],
        ["example.com/queue:1"],
        ["example.com/queue:1"],
        [],
    ]
    for one in definitions:
        assert replaced(one, lambda reference: reference) == one
        changed = replaced(one, lambda reference: f"mirror.example.com/{reference}")
        expected = [f"mirror.example.com/{reference}" for reference in references(one)]
        assert references(changed) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1.23.0", True),
        (f"gcr.io/a/b@{DIGEST}", True),
        (f"127.0.0.1:5000/a/b:1@{DIGEST}", True),
        ("registry:5000/a:1", True),
        ("localhost/a:1", True),
        ("library/python:3", False),
        ("example.com/a", False),
        ("example.com:8080/path", False),
        ("https://example.com/a:1", False),
        ("otel-collector.observability.svc:4317", False),
        ("serving.knative.dev/release", False),
        (f"example.com/a@{DIGEST}0", False),
        ("", False),
    ],
)
def test_only_what_can_be_nothing_else_is_a_reference(text: str, expected: bool) -> None:
    assert is_reference(text) is expected


@pytest.mark.skipif(not KNATIVE.is_dir(), reason="upstream's files are not beside this checkout")
def test_nothing_in_upstreams_files_is_overlooked() -> None:
    manifests = Manifests()
    texts = [path.read_text(encoding="utf-8") for path in sorted(KNATIVE.glob("*.yaml"))]
    for number, text in enumerate(texts):
        manifests.add(str(number), text)
    found = {image for source in manifests.result() for image in references(source.definition)}
    registries = ("gcr.io/knative", "docker.io/envoyproxy")
    written = {
        word.strip("\"'")
        for text in texts
        for word in text.split()
        if word.strip("\"'").startswith(registries)
    }
    assert len(written) > 30
    assert written == found
