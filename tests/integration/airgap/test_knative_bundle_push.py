"""A bundle comes into a registry once; one that is damaged, or not the right one, changes nothing there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from aiohttp import web
from support.airgap import ENVOY, QUEUE, Release, push
from support.kube import api_server
from support.registries import Registry, debian_registry, proxy

from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)
from ansible_collections.streamops.knative.plugins.module_utils._pipelines import (
    cluster_checks,
    consistency,
)

NODE_INFO = (
    *("machineID", "systemUUID", "bootID", "kernelVersion", "osImage"),
    *("containerRuntimeVersion", "kubeletVersion", "kubeProxyVersion"),
)


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(bundle, tmp_path / "copy.tar"))


def pullable(reference: str, registry: Registry) -> bool:
    """Whether a registry has an image with all that it is made of."""
    parsed = Reference.parse(reference, "reference")
    credentials = None
    if registry.docker_config.exists():
        credentials = Credentials(*registry.credentials)
    repository = Repository(parsed, Connection(), credentials)
    found = repository.manifest(parsed.target)
    assert found, reference
    manifest = json.loads(found[0])
    return all(
        repository.has_blob(blob["digest"], blob["size"])
        for blob in [manifest["config"], *manifest["layers"]]
    )


def test_every_image_is_there_by_digest_and_is_sent_once(
    bundle: Path, registry: Registry, published: Release
) -> None:
    foreseen = push(bundle, registry, check=True)
    done = push(bundle, registry)
    assert done.result == foreseen.result
    assert done["changed"] is True
    assert done["images"].keys() == published.references
    assert done["images"][ENVOY].startswith(f"{registry.host}/mirror/envoyproxy/envoy@sha256:")
    assert all(pullable(reference, registry) for reference in done["images"].values())
    assert (Path(done["folder"]) / "serving-core.yaml").read_text() == (
        published.folder / "serving-core.yaml"
    ).read_text()
    again = push(bundle, registry)
    assert (again["changed"], again["bytes"], again["pushed"]) == (False, 0, [])
    assert again["images"] == done["images"]


@pytest.mark.needs("docker-registry")
def test_the_reference_registry_takes_it(bundle: Path, tmp_path: Path) -> None:
    with debian_registry(tmp_path) as registry:
        done = push(bundle, registry)
        assert all(pullable(reference, registry) for reference in done["images"].values())
        assert push(bundle, registry)["changed"] is False


def test_what_the_registry_has_is_not_sent(bundle: Path, registry: Registry) -> None:
    uploads: list[str] = []

    def refuse_the_second(request: web.Request, answer: web.Response) -> web.Response:
        if request.method == "PUT" and "/manifests/bundle-" in request.path:
            uploads.append(request.path)
            if len(uploads) > 1:
                return web.Response(status=403)
        return answer

    with proxy(registry, refuse_the_second) as failing, pytest.raises(TaskError, match="403"):
        push(bundle, failing, parallel=1)
    everything = sum(1 for _ in push(bundle, registry, check=True)["images"])
    done = push(bundle, registry)
    assert 0 < len(done["pushed"]) < everything


@pytest.mark.parametrize("part", ["bundle.json", "index.json", "kourier.yaml", "blobs/"])
def test_a_damaged_part_is_named_and_nothing_is_pushed(
    bundle: Path, copy: Path, registry: Registry, published: Release, part: str
) -> None:
    content = copy.read_bytes()
    header = content.rindex(part.encode())
    place = (header // 512 + 1) * 512
    copy.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(TaskError, match=f"{part}.* is damaged"):
        push(copy, registry)
    shutil.copy(bundle, copy)
    assert len(push(copy, registry, check=True)["pushed"]) == len(published.references)


def test_a_bundle_that_is_cut_off_is_refused(copy: Path, registry: Registry) -> None:
    content = copy.read_bytes()
    copy.write_bytes(content[: len(content) // 2])
    with pytest.raises(TaskError, match=r"blobs/sha256/\w+ is (missing|damaged)|is cut off"):
        push(copy, registry)
    copy.write_bytes(content[:5000])
    with pytest.raises(TaskError, match=r"bundle.json is (missing|damaged)|is not a bundle"):
        push(copy, registry)


def test_what_is_not_a_bundle_is_refused(registry: Registry, tmp_path: Path) -> None:
    for content in (b"", b"<html>" * 1000, bytes(10240)):
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(TaskError, match="is not a bundle"):
            push(tmp_path / "x.tar", registry)
    with pytest.raises(TaskError, match="does not exist"):
        push(tmp_path / "none.tar", registry)


def test_a_bundle_of_something_else_is_refused(bundle: Path, registry: Registry) -> None:
    with pytest.raises(TaskError) as refused:
        push(
            bundle,
            registry,
            components=["serving", "eventing"],
            serving_version="1.22.0",
            kourier_version="v1.23.0",
        )
    told = str(refused.value)
    assert "serving_version: the bundle holds serving 1.23.0, not 1.22.0" in told
    assert "components: the bundle has no eventing; it has serving, kourier" in told
    assert "kourier_version" not in told


def test_a_registry_that_refuses_is_named_with_what_to_do(bundle: Path, registry: Registry) -> None:
    with pytest.raises(TaskError, match="Credentials are taken from username and password"):
        push(bundle, registry, username=None, password=None, docker_config=str(empty(registry)))

    def full(request: web.Request, answer: web.Response) -> web.Response:
        if request.method == "PUT" and "/blobs/" in request.path:
            errors = {"errors": [{"code": "DENIED", "message": "quota exceeded"}]}
            return web.json_response(errors, status=403)
        return answer

    with (
        proxy(registry, full) as refusing,
        pytest.raises(TaskError, match=r"was not taken; no tag was changed.*quota exceeded"),
    ):
        push(bundle, refusing)
    with pytest.raises(TaskError, match="does not answer"):
        push(bundle, registry, registry="127.0.0.1:1/mirror")


def empty(registry: Registry) -> Path:
    path = registry.home / "empty.json"
    path.write_text("{}")
    return path


def test_preflight_refuses_what_the_bundle_cannot_do(bundle: Path) -> None:
    values = {
        "knative_eventing_bundle": str(bundle),
        "knative_eventing_bundle_registry": "registry.example.com/knative",
        "knative_eventing_components": ["serving", "kourier"],
        "knative_eventing_serving_version": "1.23.0",
        "knative_eventing_kourier_version": "1.23.0",
    }
    assert consistency.knative_eventing(values) == []
    wrong = {
        "knative_eventing_bundle_registry": "",
        "knative_eventing_bundle_pull_login": {"username": "reader"},
        "knative_eventing_folder": "/srv",
        "knative_eventing_registry": "mirror.example.com",
        "knative_eventing_components": ["serving", "eventing"],
        "knative_eventing_serving_version": "1.22.0",
    }
    found = consistency.knative_eventing(values | wrong)
    assert [text.partition(":")[0] for text in found] == [
        "knative_eventing_folder",
        "knative_eventing_registry",
        "knative_eventing_bundle_registry",
        "knative_eventing_bundle_pull_login",
        "knative_eventing_serving_version",
        "knative_eventing_components",
    ]
    (found,) = consistency.knative_eventing(values | {"knative_eventing_bundle": __file__})
    assert found.startswith(f"knative_eventing_bundle: {__file__} is not a bundle")


def test_preflight_refuses_a_bundle_for_other_nodes(bundle: Path, tmp_path: Path) -> None:
    values = {
        "knative_eventing_state": "present",
        "knative_eventing_scope": "tests",
        "knative_eventing_components": ["serving", "kourier"],
        "knative_eventing_version": "1.23.0",
        "knative_eventing_serving_version": "1.23.0",
        "knative_eventing_kourier_version": "1.23.0",
        "knative_eventing_folder": "",
        "knative_eventing_adopt": False,
        "knative_eventing_bundle": str(bundle),
    }
    with api_server(tmp_path) as kube:

        def found() -> list[str]:
            return cluster_checks.problems(kube.connect(), ["knative_eventing"], values)

        def add_node(architecture: str) -> None:
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": architecture}}
            kube.apply(node)
            info = dict.fromkeys(NODE_INFO, "x")
            info |= {"operatingSystem": "linux", "architecture": architecture}
            kube.set_status(node, {"nodeInfo": info})

        assert found() == [], "nodes may come later"
        add_node("arm64")
        (refused,) = found()
        assert (
            "is for linux/amd64, and the cluster's nodes are linux/arm64: make it with" in refused
        )
        add_node("amd64")
        assert found() == [], "a node selector may choose"


def test_the_bundle_has_no_tag_to_pull_by(bundle: Path, registry: Registry) -> None:
    images = push(bundle, registry)["images"]
    assert all("@sha256:" in reference for reference in images.values())
    assert QUEUE in images
