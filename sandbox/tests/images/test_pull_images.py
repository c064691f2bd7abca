"""Pulls from the sandbox's registry: policies, platforms, credentials, damage, what errors say."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
import requests
from support.ports import free_port
from support.registries import Registry, sandbox_registry

from streamops_sandbox.node.images import Image, ImageError, pull
from streamops_sandbox.node.images.image import Reference
from streamops_sandbox.node.images.registry import find_credentials

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(tmp_path: Path):
    with sandbox_registry(tmp_path / "home") as running:
        yield running


class Pushed:
    """Pushes hand-made images into a repository."""

    def __init__(self, registry: Registry, name: str) -> None:
        self.url = f"{registry.url}/v2/{name}"
        self.session = requests.Session()
        token = requests.get(
            f"{registry.url}/token",
            params={"scope": f"repository:{name}:pull,push,delete"},
            auth=registry.credentials,
            timeout=60,
        ).json()["token"]
        self.session.headers["Authorization"] = f"Bearer {token}"

    def blob(self, content: bytes) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        answer = self.session.post(
            f"{self.url}/blobs/uploads/", params={"digest": digest}, data=content, timeout=60
        )
        answer.raise_for_status()
        return {"digest": digest, "size": len(content)}

    def document(self, tag: str, media_type: str, value: dict) -> dict[str, object]:
        content = json.dumps({"schemaVersion": 2, "mediaType": media_type, **value}).encode()
        answer = self.session.put(
            f"{self.url}/manifests/{tag}",
            data=content,
            headers={"Content-Type": media_type},
            timeout=60,
        )
        answer.raise_for_status()
        digest = answer.headers["Docker-Content-Digest"]
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def image(self, tag: str, text: str, *, diff_id: str | None = None) -> dict[str, object]:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            info = tarfile.TarInfo("text")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
        plain = buffer.getvalue()
        layer = self.blob(gzip.compress(plain, mtime=0))
        diff_id = diff_id or f"sha256:{hashlib.sha256(plain).hexdigest()}"
        config = {"config": {"Cmd": ["x"]}, "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
        value = {
            "config": {"mediaType": "application/x", **self.blob(json.dumps(config).encode())},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **layer}],
        }
        return self.document(tag, MANIFEST, value)


def pulled(reference: str, store: Path, **options) -> Image:
    return asyncio.run(pull(reference, store=store, **options))


def test_image_is_there_with_what_a_status_shows(registry: Registry, tmp_path: Path) -> None:
    descriptor = Pushed(registry, "team/app").image("v1", "hello")
    image = pulled(f"{registry.host}/team/app:v1", tmp_path / "store")
    assert (image.rootfs / "text").read_text() == "hello"
    assert image.image_id == f"{registry.host}/team/app@{descriptor['digest']}"
    assert image.config == {"Cmd": ["x"]}


def test_policies(registry: Registry, tmp_path: Path) -> None:
    repository, store = Pushed(registry, "team/app"), tmp_path / "store"
    reference = f"{registry.host}/team/app:v1"
    with pytest.raises(ImageError, match="not present with pull policy of Never") as never:
        pulled(reference, store, policy="Never")
    assert never.value.reason == "ErrImageNeverPull"
    repository.image("v1", "one")
    pulled(reference, store)
    repository.image("v1", "two")
    assert (pulled(reference, store).rootfs / "text").read_text() == "one"
    assert (pulled(reference, store, policy="Never").rootfs / "text").read_text() == "one"
    assert (pulled(reference, store, policy="Always").rootfs / "text").read_text() == "two"


def test_nodes_share_what_is_unpacked_and_not_what_references_stand_for(
    registry: Registry, tmp_path: Path
) -> None:
    repository, shared = Pushed(registry, "team/app"), tmp_path / "shared"
    reference = f"{registry.host}/team/app:v1"
    repository.image("v1", "one")
    first = pulled(reference, tmp_path / "first", shared=shared)
    assert pulled(reference, tmp_path / "second", shared=shared).rootfs == first.rootfs
    assert first.rootfs.is_relative_to(shared)
    repository.image("v1", "two")
    third = pulled(reference, tmp_path / "third", shared=shared)
    assert (third.rootfs / "text").read_text() == "two"
    assert (first.rootfs / "text").read_text() == "one"
    assert not list((shared / "temporary").iterdir())


def test_what_is_present_needs_no_registry(tmp_path: Path) -> None:
    with sandbox_registry(tmp_path / "home") as registry:
        descriptor = Pushed(registry, "app").image("v1", "hello")
        reference = f"{registry.host}/app@{descriptor['digest']}"
        pulled(reference, tmp_path / "store")
    assert pulled(reference, tmp_path / "store", policy="Always").digest == descriptor["digest"]


def test_index_gives_the_platforms_image(registry: Registry, tmp_path: Path) -> None:
    repository = Pushed(registry, "app")
    entries = [
        {**repository.image(arch, arch), "platform": {"os": "linux", "architecture": arch}}
        for arch in ("amd64", "arm64")
    ]
    index = repository.document("both", INDEX, {"manifests": entries})
    reference = f"{registry.host}/app:both"
    image = pulled(reference, tmp_path / "store", platform=("linux", "arm64"))
    assert (image.rootfs / "text").read_text() == "arm64"
    assert image.digest == index["digest"]
    with pytest.raises(ImageError, match="no match for platform linux/s390x in manifest"):
        pulled(reference, tmp_path / "other", platform=("linux", "s390x"))


def test_concurrent_pulls_share_the_work(registry: Registry, tmp_path: Path) -> None:
    Pushed(registry, "app").image("v1", "hello")

    async def many() -> list[Image]:
        calls = (pull(f"{registry.host}/app:v1", store=tmp_path / "store") for _ in range(8))
        return await asyncio.gather(*calls)

    assert len({image.rootfs for image in asyncio.run(many())}) == 1
    assert list((tmp_path / "store" / "temporary").iterdir()) == []


def test_missing_images_are_not_found(registry: Registry, tmp_path: Path) -> None:
    for name in ("library/python:nope", "nothing:latest"):
        with pytest.raises(ImageError, match="not found") as error:
            pulled(f"{registry.host}/{name}", tmp_path / "store")
        assert error.value.reason == "ErrImagePull"


def test_unreachable_registry_is_named(tmp_path: Path) -> None:
    port = free_port()
    with pytest.raises(ImageError, match=f"127.0.0.1:{port}/v2/app/manifests/v1"):
        pulled(f"127.0.0.1:{port}/app:v1", tmp_path / "store")


@pytest.mark.parametrize("text", ["UPPER/x", "a b", "x:", "x@sha256:12", "", "x:tag:tag"])
def test_bad_names(text: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="couldn't parse image name") as error:
        pulled(text, tmp_path / "store")
    assert error.value.reason == "InvalidImageName"


def test_private_registry_wants_pull_secrets(tmp_path: Path) -> None:
    with sandbox_registry(tmp_path / "home", anonymous_pull=False) as registry:
        reference = f"{registry.host}/library/python:3-slim"
        with pytest.raises(ImageError, match="pull access denied"):
            pulled(reference, tmp_path / "store")
        wrong = base64.b64encode(b"sandbox:wrong").decode()
        secret = {"auths": {registry.host: {"auth": wrong}}}
        with pytest.raises(ImageError, match="401"):
            pulled(reference, tmp_path / "store", pull_secrets=[secret])
        right = json.loads(registry.docker_config.read_text())
        image = pulled(reference, tmp_path / "store", pull_secrets=[right])
    assert (image.rootfs / "usr/local/bin/python3").exists()


def test_layer_that_is_not_what_the_configuration_says(registry: Registry, tmp_path: Path) -> None:
    Pushed(registry, "app").image("v1", "hello", diff_id=f"sha256:{'0' * 64}")
    with pytest.raises(ImageError, match=r"failed to extract layers: .* unpacks to"):
        pulled(f"{registry.host}/app:v1", tmp_path / "store")


def test_changed_content_is_noticed(registry: Registry, tmp_path: Path) -> None:
    Pushed(registry, "app").image("v1", "hello")
    for blob in (registry.home / "registry").glob("sha256-*"):
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
    with pytest.raises(ImageError, match="digest"):
        pulled(f"{registry.host}/app:v1", tmp_path / "store")
    assert not list((tmp_path / "store/blobs/sha256").iterdir())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python", "docker.io/library/python:latest"),
        ("team/app:1", "docker.io/team/app:1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t"),
        ("gcr.io/p/a@sha256:" + "a" * 64, "gcr.io/p/a@sha256:" + "a" * 64),
    ],
)
def test_short_names(text: str, expected: str) -> None:
    assert str(Reference.parse(text)) == expected


@pytest.mark.parametrize(
    ("key", "image", "matches"),
    [
        ("https://index.docker.io/v1/", "python", True),
        ("registry.io", "registry.io/a/b", True),
        ("https://registry.io/v2/", "registry.io/a", True),
        ("*.registry.io", "eu.registry.io/a", False),
        ("registry.io/team", "registry.io/team/app", True),
        ("registry.io/team", "registry.io/teams/app", False),
    ],
)
def test_which_pull_secret_is_for_what(key: str, image: str, matches: bool) -> None:
    secret = {"auths": {key: {"username": "u", "password": "p"}}}
    found = find_credentials(Reference.parse(image), [secret])
    assert found == (("u", "p") if matches else None)
