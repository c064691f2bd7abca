"""The release of Knative that the sandbox serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
import yaml
from support.sandbox import until

from streamops_sandbox.knative import programs, release


@pytest.fixture
def mirror(cluster):
    return cluster.state["urls"]["releases"]


def test_it_has_upstreams_paths(mirror):
    path = "/knative/serving/releases/download/knative-v1.23.0/serving-core.yaml"
    first = requests.get(mirror + path, timeout=60)
    documents = list(yaml.safe_load_all(first.text))
    assert {"Deployment", "ConfigMap", "ClusterRole"} <= {d["kind"] for d in documents if d}


@pytest.mark.parametrize(
    "path",
    [
        "/knative/serving/releases/download/knative-v0.1.0/serving-core.yaml",
        "/knative/eventing/releases/download/knative-v1.22.2/serving-core.yaml",
        "/other/serving/releases/download/knative-v1.23.0/serving-core.yaml",
    ],
)
def test_what_it_does_not_have_is_not_found(mirror, path):
    answer = requests.get(mirror + path, timeout=60)
    assert answer.status_code == 404
    assert "versions here" in answer.text


def containers():
    for repository, (versions, files) in release.REPOSITORIES.items():
        for name in files:
            for document in yaml.safe_load_all(release.render(repository, versions[-1], name)):
                template = ((document or {}).get("spec") or {}).get("template") or {}
                yield from (template.get("spec") or {}).get("containers") or []


def test_every_image_of_the_release_has_a_program():
    for container in containers():
        assert programs.find(container["image"]), container["image"]


def test_programs_that_only_answer_probes_listen_where_they_are_asked():
    idle = {
        image: target[-1]
        for image, target in yaml.safe_load(
            (Path(programs.__file__).parent / "programs.yaml").read_text()
        ).items()
        if target[:2] == ["unmodelled", "idle"] and isinstance(target[-1], int)
    }
    asked = set()
    for container in containers():
        image = container["image"].split("knative-releases/")[-1].rpartition(":")[0]
        probe = container.get("readinessProbe") or {}
        port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
        named = {
            entry.get("name"): entry["containerPort"] for entry in container.get("ports") or []
        }
        if image in idle and port:
            assert named.get(port, port) == idle[image], container
            asked.add(image)
    assert "knative-kafka-broker-dispatcher-loom" in asked
    assert len(asked) > 3


@pytest.mark.parametrize(
    ("image", "known"),
    [
        ("gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1.23.0", True),
        ("mirror.example:5000/x/knative.dev/serving/cmd/queue@sha256:abc", True),
        ("knative.dev/serving/cmd/queue", True),
        ("docker.io/envoyproxy/envoy:v1.37-latest", True),
        ("gcr.io/knative.dev/serving/cmd/queue-other:v1", False),
        ("docker.io/library/nginx", False),
    ],
)
def test_images_are_known_by_their_path(image, known):
    assert (programs.find(image) is not None) is known


@pytest.mark.needs("kubectl")
def test_migration_jobs_rewrite_what_is_stored(cluster, namespace):
    name = "eventtypes.eventing.knative.dev"
    definition = "CustomResourceDefinition"
    api = "apiextensions.k8s.io/v1"
    cluster.kubectl(
        "patch", "crd", name, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {"storedVersions": ["v1beta1", "v1beta2"]}}),
    )  # fmt: skip
    text = release.render("knative/eventing", "1.22.2", "eventing-post-install")
    cluster.kubectl("create", "-f", "-", stdin=text)
    until(
        lambda: cluster.get(api, definition, name)["status"]["storedVersions"] == ["v1beta2"],
        "only the stored version is left",
    )
    jobs = cluster.list("batch/v1", "Job", "knative-eventing")
    cluster.wait(
        "condition=Complete", f"job/{jobs[0]['metadata']['name']}", namespace="knative-eventing"
    )
