"""The registry at the level of the distribution specification's requests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import requests
from support.registries import Registry, sandbox_registry

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY_CONFIG = b"{}"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Session(requests.Session):
    """Requests to one registry with a token for the given repositories."""

    def __init__(self, registry: Registry, *repositories: str, actions: str = "pull,push,delete"):
        super().__init__()
        self.registry = registry
        scopes = [f"repository:{name}:{actions}" for name in repositories]
        scopes.append("registry:catalog:*")
        answer = requests.get(
            f"{registry.url}/token",
            params={"scope": scopes, "service": "x"},
            auth=registry.credentials,
            timeout=60,
        )
        self.headers["Authorization"] = f"Bearer {answer.json()['token']}"

    def request(self, method, url, **options):
        url = url if url.startswith("http") else f"{self.registry.url}{url}"
        return super().request(method, url, timeout=60, **options)

    def push_blob(self, name: str, content: bytes) -> str:
        answer = self.post(
            f"/v2/{name}/blobs/uploads/", params={"digest": digest_of(content)}, data=content
        )
        assert answer.status_code == 201, answer.text
        return digest_of(content)

    def push_manifest(self, name: str, tag: str, **more: object) -> requests.Response:
        config = self.push_blob(name, EMPTY_CONFIG)
        layer = self.push_blob(name, b"layer")
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/x", "digest": config, "size": 2},
            "layers": [{"mediaType": "application/y", "digest": layer, "size": 5}],
            **more,
        }
        return self.put(
            f"/v2/{name}/manifests/{tag}",
            data=json.dumps(manifest),
            headers={"Content-Type": MANIFEST},
        )


@pytest.fixture
def registry(tmp_path: Path):
    with sandbox_registry(tmp_path / "home") as running:
        yield running


def code(response: requests.Response) -> str:
    return response.json()["errors"][0]["code"]


def test_version_check_names_the_token_endpoint(registry: Registry) -> None:
    answer = requests.get(f"{registry.url}/v2/", timeout=60)
    assert answer.status_code == 401
    assert f'realm="{registry.url}/token"' in answer.headers["WWW-Authenticate"]
    assert Session(registry).get("/v2/").status_code == 200


def test_wrong_password_gets_no_token(registry: Registry) -> None:
    answer = requests.get(f"{registry.url}/token", auth=("sandbox", "wrong"), timeout=60)
    assert answer.status_code == 401


def test_forged_token_is_refused(registry: Registry) -> None:
    session = Session(registry, "a")
    scheme, token = session.headers["Authorization"].split()
    middle = len(token) // 2
    changed = "A" if token[middle] != "A" else "B"
    session.headers["Authorization"] = f"{scheme} {token[:middle]}{changed}{token[middle + 1 :]}"
    assert session.get("/v2/").status_code == 401
    session.headers["Authorization"] = f"{scheme} not-one-of-ours"
    assert session.get("/v2/").status_code == 401


def test_token_for_one_repository_does_not_open_another(registry: Registry) -> None:
    session = Session(registry, "a")
    answer = session.post("/v2/b/blobs/uploads/")
    assert answer.status_code == 401
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
    assert 'scope="repository:b:pull,push"' in answer.headers["WWW-Authenticate"]


def test_chunks_have_to_follow_one_another(registry: Registry) -> None:
    session = Session(registry, "a")
    upload = session.post("/v2/a/blobs/uploads/").headers["Location"]
    first = session.patch(upload, data=b"12345", headers={"Content-Range": "0-4"})
    assert (first.status_code, first.headers["Range"]) == (202, "0-4")
    gap = session.patch(upload, data=b"9", headers={"Content-Range": "8-8"})
    assert gap.status_code == 416
    end = session.put(upload, params={"digest": digest_of(b"1234567")}, data=b"67")
    assert end.status_code == 201
    assert session.get(end.headers["Location"]).content == b"1234567"


def test_wrong_digest_stores_nothing(registry: Registry) -> None:
    session = Session(registry, "a")
    wanted = digest_of(b"something else")
    upload = session.post("/v2/a/blobs/uploads/").headers["Location"]
    answer = session.put(upload, params={"digest": wanted}, data=b"content")
    assert (answer.status_code, code(answer)) == (400, "DIGEST_INVALID")
    assert session.head(f"/v2/a/blobs/{wanted}").status_code == 404
    assert session.head(f"/v2/a/blobs/{digest_of(b'content')}").status_code == 404


def test_ranges_of_a_blob(registry: Registry) -> None:
    session = Session(registry, "a")
    url = f"/v2/a/blobs/{session.push_blob('a', b'0123456789')}"
    part = session.get(url, headers={"Range": "bytes=3-5"})
    assert (part.status_code, part.content) == (206, b"345")
    assert part.headers["Content-Range"] == "bytes 3-5/10"
    assert session.get(url, headers={"Range": "bytes=20-30"}).status_code == 416
    head = session.head(url)
    assert (head.headers["Content-Length"], head.content) == ("10", b"")


def test_mount_needs_the_blob_and_the_right_to_pull_it(registry: Registry) -> None:
    digest = Session(registry, "a").push_blob("a", b"shared")
    both = Session(registry, "a", "b")
    query = {"mount": digest, "from": "a"}
    refused = Session(registry, "b").post("/v2/b/blobs/uploads/", params=query)
    assert refused.status_code == 401
    assert "repository:a:pull" in refused.headers["WWW-Authenticate"]
    assert both.head(f"/v2/b/blobs/{digest}").status_code == 404
    assert both.post("/v2/b/blobs/uploads/", params=query).status_code == 201
    assert both.get(f"/v2/b/blobs/{digest}").content == b"shared"
    unknown = both.post("/v2/b/blobs/uploads/", params={"mount": digest_of(b"no"), "from": "a"})
    assert unknown.status_code == 202
    assert "/blobs/uploads/" in unknown.headers["Location"]


def test_manifest_by_tag_and_digest(registry: Registry) -> None:
    session = Session(registry, "a")
    pushed = session.push_manifest("a", "v1")
    assert pushed.status_code == 201
    digest = pushed.headers["Docker-Content-Digest"]
    for reference in ("v1", digest):
        got = session.get(f"/v2/a/manifests/{reference}")
        assert got.headers["Content-Type"] == MANIFEST
        assert got.headers["Docker-Content-Digest"] == digest == digest_of(got.content)
    missing = session.get("/v2/a/manifests/v2")
    assert (missing.status_code, code(missing)) == (404, "MANIFEST_UNKNOWN")


def test_manifest_whose_blobs_are_missing_leaves_the_tag_alone(registry: Registry) -> None:
    session = Session(registry, "a")
    digest = session.push_manifest("a", "v1").headers["Docker-Content-Digest"]
    lost = {"mediaType": "application/y", "digest": digest_of(b"never sent"), "size": 1}
    answer = session.push_manifest("a", "v1", layers=[lost])
    assert (answer.status_code, code(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert session.head("/v2/a/manifests/v1").headers["Docker-Content-Digest"] == digest


@pytest.mark.parametrize(
    "body", ["", "no json", "[]", '{"schemaVersion": 2}', '{"schemaVersion": 1, "layers": []}']
)
def test_what_is_no_manifest_is_refused(registry: Registry, body: str) -> None:
    answer = Session(registry, "a").put(
        "/v2/a/manifests/v1", data=body, headers={"Content-Type": MANIFEST}
    )
    assert (answer.status_code, code(answer)) == (400, "MANIFEST_INVALID")


def test_deleting_a_manifest_takes_its_tags(registry: Registry) -> None:
    session = Session(registry, "a")
    digest = session.push_manifest("a", "v1").headers["Docker-Content-Digest"]
    session.push_manifest("a", "v2")
    other = session.push_manifest("a", "v3", annotations={"a": "b"})
    assert session.delete(f"/v2/a/manifests/{digest}").status_code == 202
    assert session.get("/v2/a/tags/list").json()["tags"] == ["v3"]
    assert session.delete("/v2/a/manifests/v3").status_code == 202
    by_digest = session.get(f"/v2/a/manifests/{other.headers['Docker-Content-Digest']}")
    assert by_digest.status_code == 200


@pytest.mark.parametrize("name", ["Upper", "../up", "a//b", "a/_blobs", "-a"])
def test_bad_repository_names(registry: Registry, name: str) -> None:
    answer = Session(registry, name).post(f"/v2/{name.replace('.', '%2E')}/blobs/uploads/")
    assert answer.status_code in (400, 401, 404)


def test_base_image_is_the_same_at_every_start(tmp_path: Path) -> None:
    digests = set()
    for folder in ("one", "two"):
        with sandbox_registry(tmp_path / folder) as registry:
            session = Session(registry, "library/python")
            head = session.head("/v2/library/python/manifests/3-slim")
            digests.add(head.headers["Docker-Content-Digest"])
    assert len(digests) == 1


def test_referrers_are_listed_by_their_subject_until_they_are_deleted(registry: Registry) -> None:
    session = Session(registry, "a")
    digest = session.push_manifest("a", "v1").headers["Docker-Content-Digest"]
    assert session.get(f"/v2/a/referrers/{digest}").json()["manifests"] == []
    subject = {"mediaType": MANIFEST, "digest": digest, "size": 1}
    typed = session.push_manifest("a", "one", subject=subject, artifactType="application/sbom")
    noted = session.push_manifest("a", "two", subject=subject, annotations={"b": "c"})
    assert typed.headers["OCI-Subject"] == digest
    answer = session.get(f"/v2/a/referrers/{digest}")
    assert answer.headers["Content-Type"] == "application/vnd.oci.image.index.v1+json"
    first, second = answer.json()["manifests"]
    assert (first["artifactType"], "annotations" in first) == ("application/sbom", False)
    assert (second["artifactType"], second["annotations"]) == ("application/x", {"b": "c"})
    kind = {"artifactType": "application/sbom"}
    filtered = session.get(f"/v2/a/referrers/{digest}", params=kind)
    assert filtered.headers["OCI-Filters-Applied"] == "artifactType"
    assert filtered.json()["manifests"] == [first]
    session.delete(f"/v2/a/manifests/{typed.headers['Docker-Content-Digest']}")
    listed = session.get(f"/v2/a/referrers/{digest}").json()["manifests"]
    assert [one["digest"] for one in listed] == [noted.headers["Docker-Content-Digest"]]


@pytest.mark.parametrize("subject", ["sha256:short", {"digest": "md5:1"}, []])
def test_a_subject_that_is_not_a_descriptor_is_refused(registry: Registry, subject: object) -> None:
    answer = Session(registry, "a").push_manifest("a", "one", subject=subject)
    assert answer.status_code == 400
