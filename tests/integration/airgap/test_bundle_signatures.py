"""A bundle has its images' signatures and the trust root, and is verified with them where there is no internet."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import signing
from support.airgap import ENVOY, QUEUE, Ran, Release, push
from support.kube import Kube, api_server, deployment
from support.registries import Registry, sandbox_registry
from support.signing import Sigstore, sigstore
from support.upstream import Upstream

from ansible_collections.streamops.knative.plugins.module_utils._airgap.archive import (
    CHECKSUMS,
    Archive,
    Plan,
    blob_name,
)
from ansible_collections.streamops.knative.plugins.module_utils._airgap.errors import BundleError
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import UPSTREAM
from ansible_collections.streamops.knative.plugins.module_utils._oci import trust_root
from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.image import INDEX_TYPE
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.signatures import (
    SignatureError,
)
from ansible_collections.streamops.knative.plugins.module_utils._pipelines import consistency
from ansible_collections.streamops.knative.plugins.modules import knative, knative_bundle

SIGNATURES, ROOT = "signatures.json", "trusted_root.json"
STRANGER = "registry.example.com/cmd/queue:1"


@dataclass
class Signed:
    """The release, whose images are signed in a registry, and the trust root's file."""

    release: Release
    services: Sigstore
    root: Path

    def repository(self, reference: str) -> Repository:
        registry = self.release.upstream.registry
        parsed = Reference.parse(f"{registry.host}/{reference}", "reference")
        return Repository(parsed, Connection(), Credentials(*registry.credentials))

    def digest(self, reference: str) -> str:
        repository = self.repository(reference)
        return str(repository.resolve(repository.reference.target))

    def collect(self, path: Path, **options: Any) -> Ran:
        return self.release.collect(
            path, **{"verify": True, "trust_root": str(self.root), **options}
        )


@pytest.fixture(scope="module")
def signed(published: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Signed]:
    """A registry of its own: signatures are put beside the images."""
    folder = tmp_path_factory.mktemp("signed")
    (folder / "registry").mkdir()
    with sandbox_registry(folder / "registry") as registry, sigstore() as services:
        upstream = Upstream(registry)
        for reference in published.references:
            both = (
                ("linux/amd64", "linux/arm64") if reference in (ENVOY, QUEUE) else ("linux/amd64",)
            )
            upstream.publish(reference, both)
        release = Release(published.folder, upstream, published.references, published.cache)
        root = folder / ROOT
        root.write_bytes(services.trust_root())
        made = Signed(release, services, root)
        for reference in published.references:
            if reference != ENVOY:  # as upstream: nobody signs it
                services.sign_image(made.repository(reference), made.digest(reference))
        yield made


@pytest.fixture(scope="module")
def bundle(signed: Signed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "knative.tar"
    signed.collect(path)
    return path


def rewritten(bundle: Path, path: Path, **documents: bytes | None) -> Path:
    """Write a bundle that is sound but for what it says: with other documents, or without some."""
    archive = Archive.read(bundle)
    with tarfile.open(bundle) as tar:
        names = [name for name in tar.getnames() if name not in ("oci-layout", CHECKSUMS)]
    changed = {name.replace("_json", ".json"): text for name, text in documents.items()}
    contents = {name: archive.document(name) for name in names} | changed
    plan = Plan({name: text for name, text in contents.items() if text is not None}, {})
    with path.open("wb") as file:
        plan.begin(file.fileno())
    return path


def test_a_bundle_is_verified_without_the_log_and_once(
    bundle: Path, signed: Signed, registry: Registry
) -> None:
    asked = signed.services.asked
    done = push(bundle, registry, verify=True)
    assert set(done["verified"]) == signed.release.references - {ENVOY}
    assert push(bundle, registry, verify=True)["verified"] == []
    assert signed.services.asked == asked


def test_a_bundle_that_was_made_with_signatures_is_verified_by_default(
    bundle: Path, signed: Signed, registry: Registry
) -> None:
    assert push(bundle, registry)["verified"]
    assert push(bundle, registry, verify=False, cache_dir=str(registry.home))["verified"] == []


def test_a_second_run_takes_the_signatures_over(
    bundle: Path, signed: Signed, tmp_path: Path
) -> None:
    path = Path(shutil.copy(bundle, tmp_path / "knative.tar"))
    signed.services.record({"kind": "other"})  # the log's proofs are others from now on
    before, asked = path.read_bytes(), signed.services.asked
    assert signed.collect(path)["changed"] is False
    assert (path.read_bytes(), signed.services.asked) == (before, asked)


def test_an_image_that_is_not_signed_is_named_and_nothing_is_written(
    signed: Signed, tmp_path: Path
) -> None:
    options = {"signers": [{"images": "docker.io/envoyproxy/*", "identity": "a", "issuer": "b"}]}
    with pytest.raises(SignatureError, match="has no signature of a") as refused:
        signed.collect(tmp_path / "knative.tar", **options)
    assert f"- {ENVOY}: has no signature of a (b)" in str(refused.value).splitlines()
    assert list(tmp_path.iterdir()) == []


def test_an_image_of_one_s_own_is_verified_where_a_signer_is_named(
    signed: Signed, tmp_path: Path
) -> None:
    own = f"{signed.release.upstream.registry.host}/apps/own"
    signed.release.upstream.publish("apps/own:1")
    signed.collect(tmp_path / "knative.tar", images=[f"{own}:1"])
    key = tmp_path / "own.pub"
    key.write_bytes(signing.public_pem(signing.new_key()))
    with pytest.raises(SignatureError, match="apps/own:1"):
        signed.collect(
            tmp_path / "other.tar",
            images=[f"{own}:1"],
            signers=[{"images": f"{own}*", "key": str(key)}],
        )


def test_a_bundle_without_signatures_is_refused_where_they_are_asked_for(
    published: Release, registry: Registry, tmp_path: Path
) -> None:
    path = tmp_path / "knative.tar"
    published.collect(path)
    with pytest.raises(BundleError, match="has no signatures: make the bundle again"):
        push(path, registry, verify=True)
    assert push(path, registry)["verified"] == []


def test_what_cannot_be_verified_is_said_by_the_role_s_first_check(
    bundle: Path, published: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsigned = tmp_path / "knative.tar"
    published.collect(unsigned)

    def said(path: Path, **more: Any) -> list[str]:
        values = {"knative_eventing_verify": True, "knative_eventing_bundle": str(path), **more}
        found = consistency.knative_eventing(
            {**values, "knative_eventing_bundle_registry": "r.example.com/k"}
        )
        return [text for text in found if text.startswith("knative_eventing_verify:")]

    assert said(bundle) == []
    assert "has no signatures" in said(unsigned)[0]
    assert said(unsigned, knative_eventing_verify=False) == []
    monkeypatch.setattr(trust_root, "find_spec", lambda _name: None)
    assert "pip install sigstore" in said(bundle)[0]
    keys = [{"images": "gcr.io/*", "key": "/srv/cosign.pub"}]
    assert said(bundle, knative_eventing_verify_signers=keys) == []


def swapped(bundle: Path, path: Path) -> Path:
    """One image's signature for another's."""
    found = json.loads(Archive.read(bundle).document(SIGNATURES))
    first, second, *_rest = sorted(found)
    found[first] = found[second]
    return rewritten(bundle, path, signatures_json=json.dumps(found).encode())


def lost(bundle: Path, path: Path) -> Path:
    found = json.loads(Archive.read(bundle).document(SIGNATURES))
    del found[min(found)]
    return rewritten(bundle, path, signatures_json=json.dumps(found).encode())


def without_root(bundle: Path, path: Path) -> Path:
    return rewritten(bundle, path, trusted_root_json=None)


def another_image(bundle: Path, path: Path) -> Path:
    """An image by its digest, and in its place another one that is signed too."""
    text = Archive.read(bundle).document("bundle.json").decode()
    listed = json.loads(text)
    first, second = [image for image in listed["images"] if image["reference"] != ENVOY][:2]
    named = f"{first['reference']}@{first['source_digest']}"
    for key in ("digest", "source_digest"):
        first[key] = second[key]
    first["reference"] = named
    return rewritten(bundle, path, bundle_json=json.dumps(listed).encode())


def another_part(bundle: Path, path: Path) -> Path:
    """An image that claims to be a part of the one that is signed."""
    listed = json.loads(Archive.read(bundle).document("bundle.json"))
    images = {image["reference"]: image for image in listed["images"]}
    other = next(image for name, image in images.items() if name not in (QUEUE, ENVOY))
    images[QUEUE]["digest"] = other["digest"]
    return rewritten(bundle, path, bundle_json=json.dumps(listed).encode())


def two_at_once(bundle: Path, path: Path) -> Path:
    """An index of what is signed, which some readers take for an image with layers of its own."""
    archive = Archive.read(bundle)
    listed = json.loads(archive.document("bundle.json"))
    index = json.loads(archive.document("index.json"))
    (queue,) = (image for image in listed["images"] if image["reference"] == QUEUE)
    (part,) = (entry for entry in index["manifests"] if entry["digest"] == queue["digest"])
    manifest = json.loads(archive.document(blob_name(queue["digest"])))
    text = json.dumps({**manifest, "mediaType": INDEX_TYPE, "manifests": [part]}).encode()
    queue["digest"] = f"sha256:{hashlib.sha256(text).hexdigest()}"
    entry = {"mediaType": INDEX_TYPE, "digest": queue["digest"], "size": len(text)}
    index["manifests"].append(entry)
    documents = {"bundle_json": listed, "index_json": index}
    encoded = {name: json.dumps(value).encode() for name, value in documents.items()}
    return rewritten(bundle, path, **encoded, **{blob_name(queue["digest"]): text})


def disowned(bundle: Path, path: Path) -> Path:
    """An image of nobody's, which a release file runs and the list says that nothing does."""
    archive = Archive.read(bundle)
    listed = json.loads(archive.document("bundle.json"))
    for image in listed["images"]:
        if image["reference"] == QUEUE:
            image |= {"reference": STRANGER, "used_by": []}
    (core,) = (name for name in listed["files"] if name.endswith("/serving-core.yaml"))
    text = archive.document(core).replace(QUEUE.encode(), STRANGER.encode())
    listed["files"][core] = f"sha256:{hashlib.sha256(text).hexdigest()}"
    documents = {core: text, "bundle_json": json.dumps(listed).encode()}
    return rewritten(bundle, path, **documents)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (two_at_once, "is an index and a manifest at once"),
        (disowned, f"{STRANGER}: nobody is named who signs it"),
        (swapped, "it is about sha256:"),
        (lost, "has no signature of"),
        (without_root, "the bundle has no trust root"),
        (another_image, "the bundle has sha256:.* in its place"),
        (another_part, "is not a part of"),
    ],
)
def test_a_bundle_whose_signatures_do_not_fit_is_refused_before_anything_is_pushed(
    bundle: Path, registry: Registry, tmp_path: Path, spoil: Any, reason: str
) -> None:
    path = spoil(bundle, tmp_path / "knative.tar")
    with pytest.raises(SignatureError, match=reason):
        push(path, registry, verify=True)
    assert not list((registry.home / "registry").glob("sha256-*")) or not pushed(registry)


def pushed(registry: Registry) -> bool:
    reference = Reference.parse(f"{registry.host}/mirror/envoyproxy/envoy", "reference")
    repository = Repository(reference, Connection(), Credentials(*registry.credentials))
    return repository.resolve("bundle") is not None


def test_a_trust_root_of_one_s_own_counts_more_than_the_bundle_s(
    bundle: Path, registry: Registry, tmp_path: Path
) -> None:
    stranger = tmp_path / ROOT
    stranger.write_bytes(Sigstore("http://127.0.0.1:1").trust_root())
    with pytest.raises(SignatureError, match="images are refused"):
        push(bundle, registry, verify=True, trust_root=str(stranger))


# The default

STRAIGHT = {"verify": None, "mirror": UPSTREAM, "folder": None, "registry": "", "references": {}}


@pytest.mark.parametrize(
    ("elsewhere", "installed", "wanted"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"mirror": "https://mirror.example.com"}, True, False),
        ({"mirror": f"{UPSTREAM}/"}, True, True),
        ({"folder": "/srv/release"}, True, False),
        ({"registry": "registry.example.com"}, True, False),
        ({"bundle": {"path": "/srv/knative.tar"}}, True, False),  # its push verifies
        ({"registry_mirrors": {"docker.io": "mirror.example.com"}}, True, False),
        ({"verify": True, "folder": "/srv/release"}, False, True),
        ({"verify": False}, True, False),
    ],
)
def test_signatures_are_verified_where_nothing_else_has_to_be_set_up(
    monkeypatch: pytest.MonkeyPatch, elsewhere: dict[str, Any], installed: bool, wanted: bool
) -> None:
    monkeypatch.setattr(trust_root, "is_available", lambda: installed)
    params = {**STRAIGHT, "bundle": None, "registry_mirrors": {}, **elsewhere}
    if "registry_mirrors" not in elsewhere:
        assert knative.Images(params, {}).wanted is wanted
    if not {"registry", "bundle"} & elsewhere.keys():
        assert knative_bundle.verifies(params) is wanted


# Without a bundle


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


def test_images_are_verified_where_they_are_pulled_from_before_anything_is_applied(
    kube: Kube, signed: Signed, tmp_path: Path
) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    for path in signed.release.folder.iterdir():
        text = path.read_text()
        for reference in sorted(signed.release.references, key=len, reverse=True):
            if reference != ENVOY and "@" not in reference:
                name = reference.rpartition(":")[0]
                text = text.replace(reference, f"{name}@{signed.digest(reference)}")
        (folder / path.name).write_text(text)
    options = {
        "components": ["serving", "kourier"],
        "serving_version": "1.23.0",
        "kourier_version": "1.23.0",
        "folder": str(folder),
        "registry": f"{signed.release.upstream.registry.host}/gcr.io",
        "cache_dir": str(tmp_path / "cache"),
        "verify": True,
        "trust_root": str(signed.root),
    }
    done = kube.run(knative.TASK, check=True, **options)
    # Envoy is not signed, and the migration is run by upgrades only.
    assert len(done.result["verified"]) == len(signed.release.references) - 2
    assert kube.run(knative.TASK, check=True, **options).result["verified"] == []

    stranger = [{"images": "gcr.io/*", "identity": "a@example.com", "issuer": "https://b"}]
    with pytest.raises(SignatureError, match=r"has 1 signature, none of a@example\.com"):
        kube.run(knative.TASK, **options, signers=stranger)
    # An image that a setting puts in is asked for as those of the release are.
    key = tmp_path / "own.pub"
    key.write_bytes(signing.public_pem(signing.new_key()))
    own = "gcr.io/example/own/queue:1"
    manifest = tmp_path / "own.yaml"
    manifest.write_text(json.dumps(deployment("own", image=own)))
    settings: tuple[dict[str, Any], ...] = (
        {"additional_manifests": [str(manifest)]},
        {"config": {"serving": {"config-deployment": {"queue-sidecar-image": own}}}},
        {
            "workloads": [
                {"name": "activator", "env": [{"variables": [{"name": "IMAGE", "value": own}]}]}
            ]
        },
    )
    offline = {**options, "signers": [{"images": "*/example/own/*", "key": str(key)}]}
    for setting in settings:
        with pytest.raises(SignatureError, match="is pulled by a tag"):
            kube.run(knative.TASK, check=True, **offline, **setting)
    assert kube.run(knative.TASK, check=True, **options).result["installed"] == {}
