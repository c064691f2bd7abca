"""An image has a bill of materials and, with a key, a signature, in registries with and without a list of referrers."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from support import signing
from support.registries import Registry, debian_registry
from support.upstream import Upstream

from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OptionError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.referrers import list_referrers
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.signatures import (
    ARTIFACT_TYPE,
    check_key,
    find_signatures,
    public_key,
)

SBOM = "application/vnd.cyclonedx+json"
GIT = ("git", "-c", "user.name=A", "-c", "user.email=a@example.com")


def opened(image: str, registry: Registry) -> Repository:
    closed = registry.docker_config.exists()
    credentials = Credentials(*registry.credentials) if closed else None
    return Repository(Reference.parse(image, "image"), Connection(), credentials)


def document(repository: Repository, digest: str) -> dict[str, Any]:
    found = repository.manifest(digest)
    assert found
    value: dict[str, Any] = json.loads(found[0])
    return value


def bill(repository: Repository, digest: str) -> dict[str, Any]:
    (entry,) = [one for one in list_referrers(repository, digest) if one["artifactType"] == SBOM]
    (layer,) = document(repository, entry["digest"])["layers"]
    value: dict[str, Any] = json.loads(repository.read_blob(layer["digest"]))
    return value


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "signing.pem"
    path.write_bytes(signing.private_pem(signing.new_key(), "secret"))
    return path


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Registry]:
    folder = tmp_path / "debian"
    folder.mkdir()
    with debian_registry(folder) as running:
        Upstream(running).publish("base:1", ["linux/amd64", "linux/arm64"])
        yield running


def test_the_bill_names_the_base_and_each_wheel(build, registry: Registry, app: Path) -> None:
    result = build()
    assert result["attached"] == [{"type": SBOM, "subject": result["digest"]}]
    value = bill(opened(result["image"], registry), result["digest"])
    assert (value["bomFormat"], value["specVersion"]) == ("CycloneDX", "1.6")
    assert uuid.UUID(value["serialNumber"].removeprefix("urn:uuid:"))
    base, helper = value["components"]
    assert base["version"] == result["base_digest"]
    assert helper["purl"] == "pkg:pypi/helper@1.0"
    (wheel,) = app.parent.glob("wheels/helper-1.0-*.whl")
    digest = subprocess.run(["sha256sum", wheel], capture_output=True, text=True, check=True)
    assert helper["hashes"] == [{"alg": "SHA-256", "content": digest.stdout.split()[0]}]
    assert value["metadata"]["component"]["version"] == result["digest"]


def test_nothing_is_attached_twice_and_check_mode_foresees_it(build, key: Path) -> None:
    options = {"signing_key": str(key), "signing_key_password": "secret"}
    foreseen = build(check=True, **options)
    first = build(**options)
    assert foreseen["attached"] == first["attached"]
    assert [one["type"] for one in first["attached"]] == [SBOM, ARTIFACT_TYPE]
    again = build(**options)
    assert (again["changed"], again["attached"]) == (False, [])


def test_what_an_image_lacks_is_attached_to_it(build, key: Path) -> None:
    image = build(sbom=False)
    assert image["attached"] == []
    options = {"signing_key": str(key), "signing_key_password": "secret"}
    foreseen = build(check=True, diff=True, **options)
    done = build(diff=True, **options)
    assert foreseen["attached"] == done["attached"]
    assert (foreseen["changed"], done["changed"]) == (True, True)
    assert SBOM in done["diff"]["after"]
    assert done["digest"] == image["digest"]


def test_each_platform_has_its_bill_and_all_are_signed_where_there_is_no_list(
    build, debian: Registry, key: Path
) -> None:
    options = {
        "name": f"{debian.host}/team/app",
        "base": f"{debian.host}/base:1",
        "platforms": ["linux/amd64", "linux/arm64"],
        "python_version": "3.11",
        "signing_key": str(key),
        "signing_key_password": "secret",
    }
    result = build(**options)
    repository = opened(result["image"], debian)
    index = document(repository, result["digest"])
    parts = [one["digest"] for one in index["manifests"]]
    assert repository.referrers(parts[0]) is None, "this registry has no list of its own"
    assert [bill(repository, one)["metadata"]["component"]["version"] for one in parts] == parts
    public = public_key(signing.public_pem(load(key)), "key")
    for digest in (result["digest"], *parts):
        (signature,) = find_signatures(repository, digest, list_referrers(repository, digest))
        check_key(public, signature, digest)
    assert build(**options)["changed"] is False


def load(path: Path) -> Any:
    return load_pem_private_key(path.read_bytes(), b"secret")


def test_signatures_of_others_stay(build, registry: Registry, key: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.pem"
    second.write_bytes(signing.private_pem(signing.new_key()))
    build(signing_key=str(second))
    result = build(signing_key=str(key), signing_key_password="secret")
    repository = opened(result["image"], registry)
    tag = f"{result['digest'].replace(':', '-')}.sig"
    assert len(document(repository, tag)["layers"]) == 2
    assert build(signing_key=str(second))["changed"] is False


@pytest.mark.parametrize(
    ("content", "password", "said"),
    [
        (b"nonsense", "", "not a private key in PEM"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "", "cosign's own format"),
        (signing.private_pem(signing.new_key(), "secret"), "", "needs signing_key_password"),
        (
            signing.private_pem(signing.new_key(), "secret"),
            "wrong",
            "signing_key_password is wrong",
        ),
        (signing.private_pem(signing.new_key()), "secret", "has no password"),
        (None, "", "cannot be read"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_before_anything_is_built(
    build, tmp_path: Path, content: bytes | None, password: str, said: str
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OptionError, match=said):
        build(signing_key=str(path), signing_key_password=password, path="/nowhere")


def test_the_commit_is_named_and_another_with_the_same_files_changes_nothing(
    build, registry: Registry, app: Path
) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            [*GIT, *arguments], cwd=app, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def noted(result: dict[str, Any]) -> str | None:
        notes = document(opened(result["image"], registry), result["digest"])["annotations"]
        assert notes["org.opencontainers.image.base.digest"].startswith("sha256:")
        revision: str | None = notes.get("org.opencontainers.image.revision")
        return revision

    git("init", "--quiet")
    assert noted(build()) is None, "nothing is committed"
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    again = build()
    assert again["changed"] is False, "the files are the same"
    (app / "main.py").write_text("print('changed')\n")
    git("commit", "--quiet", "-am", "second")
    second = build()
    assert (second["changed"], noted(second)) == (True, git("rev-parse", "HEAD"))
    git("commit", "--quiet", "--allow-empty", "-m", "third")
    assert build()["changed"] is False
    named = build(annotations={"org.opencontainers.image.revision": "v1"})
    assert (named["changed"], noted(named)) == (True, "v1")
