"""Every image that a release names is found, wherever it is written, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from support.kube import KNATIVE

from ansible_collections.streamops.knative.plugins.module_utils._knative.images import (
    is_reference,
    named_by,
    replaced,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Manifests,
    Source,
)

Object = dict[str, Any]
DIGEST = f"sha256:{'a' * 64}"


def source(kind: str, **body: Any) -> Source:
    return Source({"apiVersion": "v1", "kind": kind, "metadata": {"name": "one"}, **body}, "here")


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
    sources = [
        source("Deployment", **in_pods(containers=[container])),
        source("Job", **in_pods(initContainers=[{"name": "first", "image": "busybox"}])),
        source("ConfigMap", data={"queue-sidecar-image": "example.com/queue:1", "note": "a/b:c"}),
        source("Image", spec={"image": "example.com/queue:1"}),
        source("CustomResourceDefinition", **in_pods(containers=[{"image": "example.com/no:1"}])),
    ]
    assert named_by(sources) == {
        "example.com/main:1": ["Deployment one"],
        f"example.com/adapter@{DIGEST}": ["Deployment one"],
        "busybox": ["Job one"],
        "example.com/queue:1": ["ConfigMap one", "Image one"],
    }
    images = dict.fromkeys(named_by(sources), "mirror.example.com/x:2")
    assert named_by(replaced(sources, images)).keys() == {"mirror.example.com/x:2"}
    assert replaced(sources, {}) == sources


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
    found = named_by(manifests.result())
    registries = ("gcr.io/knative", "docker.io/envoyproxy")
    written = {
        word.strip("\"'")
        for text in texts
        for word in text.split()
        if word.strip("\"'").startswith(registries)
    }
    assert len(written) > 30
    assert written == set(found)
