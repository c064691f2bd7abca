"""Answers of what is not a registry, or not in order, are errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.http_server import Answer, AnsweringServer, answering

from ansible_collections.streamops.knative.plugins.module_utils._http.errors import (
    Cause,
    NoAnswer,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import RegistryError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    MANIFEST_TYPES,
    Connection,
    Repository,
)

PAGE = (200, {"Content-Type": "text/html"}, b"<html>Please sign in</html>")
BLOB = b"content"
DIGEST = f"sha256:{hashlib.sha256(BLOB).hexdigest()}"


@pytest.fixture
def server() -> Iterator[AnsweringServer]:
    with answering(lambda *_: PAGE) as running:
        yield running


def repository(server: AnsweringServer, credentials: Credentials | None = None) -> Repository:
    reference = Reference.parse(f"{server.host}/team/app", "name")
    return Repository(reference, Connection(timeout=60, retries=0), credentials)


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    return path


def manifest(**changes: Any) -> bytes:
    described = {"mediaType": "x", "digest": DIGEST, "size": 7}
    value = {"schemaVersion": 2, "mediaType": MANIFEST_TYPES[0], "config": described, "layers": []}
    return json.dumps({**value, **changes}).encode()


@pytest.mark.parametrize(
    "data",
    [
        PAGE[2],
        b"",
        b"{}",
        b"[]",
        manifest()[:-20],
        manifest(schemaVersion=1),
        manifest(config=None),
        manifest(config={"digest": DIGEST}),
        manifest(layers=[{"mediaType": "x", "digest": "../../x", "size": 1}]),
        manifest(mediaType="application/vnd.oci.image.index.v1+json"),
    ],
)
def test_what_is_not_a_manifest_is_an_error(server: AnsweringServer, data: bytes) -> None:
    server.answer = lambda *_: (200, {"Content-Type": MANIFEST_TYPES[0]}, data)
    with pytest.raises(RegistryError, match=r"not an image manifest|is incomplete"):
        repository(server).manifest("latest")


def test_a_page_is_not_a_blob_that_is_there(server: AnsweringServer, blob: Path) -> None:
    registry = repository(server)
    assert registry.has_blob(DIGEST, 7) is False
    server.answer = lambda *_: (200, {"Docker-Content-Digest": DIGEST}, b"")
    assert registry.has_blob(DIGEST, 7) is True
    server.answer = lambda *_: (200, {}, BLOB)
    assert registry.has_blob(DIGEST, 7) is True


def test_a_page_does_not_take_uploads(server: AnsweringServer, blob: Path) -> None:
    registry = repository(server)
    with pytest.raises(RegistryError, match="what answers is not a registry"):
        registry.push_blob(blob, DIGEST, 7)
    with pytest.raises(RegistryError, match="what answers is not a registry"):
        registry.push_manifest(manifest(), MANIFEST_TYPES[0], "latest")
    assert registry.mount_blob(DIGEST, "library/python") is False


def test_what_was_stored_needs_no_location(server: AnsweringServer, blob: Path) -> None:
    """The specification wants one, registries are without it, and it is of no use."""
    content = manifest()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    server.answer = lambda method, *_: (
        (202, {"Location": "/upload"}, b"")
        if method == "POST"
        else (201, {"Docker-Content-Digest": digest}, b"")
    )
    registry = repository(server)
    registry.push_blob(blob, DIGEST, 7)
    registry.push_manifest(content, MANIFEST_TYPES[0], "latest")


def test_a_manifest_that_was_stored_is_looked_up_where_the_answer_names_no_digest(
    server: AnsweringServer,
) -> None:
    content = manifest()
    server.answer = lambda method, *_: (
        (201, {"Location": "/x"}, b"") if method == "PUT" else (200, {}, content)
    )
    repository(server).push_manifest(content, MANIFEST_TYPES[0], "latest")
    other = manifest(annotations={})
    with pytest.raises(RegistryError, match="changed the content"):
        repository(server).push_manifest(other, MANIFEST_TYPES[0], "latest")


def test_a_blob_that_is_larger_than_described_is_not_read_to_its_end(
    server: AnsweringServer, tmp_path: Path
) -> None:
    server.answer = lambda *_: (200, {}, b"x" * (4 << 20))
    with pytest.raises(RegistryError, match="changed the content"):
        repository(server).fetch_blob(DIGEST, 7, tmp_path / "new")
    assert (tmp_path / "new").stat().st_size <= 7


@pytest.mark.parametrize("ranges", ["kept", "ignored", "refused"])
def test_a_blob_is_gone_on_with_where_the_connection_broke(
    server: AnsweringServer, tmp_path: Path, ranges: str
) -> None:
    content = bytes(range(256)) * 1000
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    asked: list[str] = []

    def answer(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> Answer:
        given = headers.get("Range", "")
        asked.append(given)
        if len(asked) == 1:
            return (
                200,
                {"Content-Length": str(len(content)), "Connection": "close"},
                content[:70000],
            )
        if given and ranges == "refused":
            return 416, {}, b""
        if given and ranges == "kept":
            first = int(given.removeprefix("bytes=").removesuffix("-"))
            place = f"bytes {first}-{len(content) - 1}/{len(content)}"
            return 206, {"Content-Range": place}, content[first:]
        return 200, {}, content

    server.answer = answer
    reference = Reference.parse(f"{server.host}/team/app", "name")
    registry = Repository(reference, Connection(timeout=60, retries=2))
    registry.fetch_blob(digest, len(content), tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == content
    assert asked[:2] == ["", "bytes=70000-"]
    assert len(asked) == (3 if ranges == "refused" else 2)


def test_documents_are_bounded(server: AnsweringServer) -> None:
    server.answer = lambda *_: (200, {}, b"x" * (5 << 20))
    with pytest.raises(RegistryError, match="more than 4 MiB"):
        repository(server).read_blob(DIGEST)


def test_credentials_are_not_sent_where_an_upload_leads_elsewhere(
    server: AnsweringServer, blob: Path
) -> None:
    seen: dict[str, str] = {}

    def take(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> Answer:
        seen.update(headers)
        return 201, {"Location": "/x"}, b""

    with answering(take) as other:
        server.answer = lambda _m, _p, headers, _b: (
            (202, {"Location": f"http://{other.host}/up"}, b"")
            if "Authorization" in headers
            else (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        )
        repository(server, Credentials("u", "p")).push_blob(blob, DIGEST, 7)
    assert seen["Content-Length"] == "7"
    assert "Authorization" not in seen


@pytest.mark.parametrize(
    "credentials", [Credentials("u", "p"), Credentials(identity_token="i"), None]
)
def test_tokens(server: AnsweringServer, credentials: Credentials | None) -> None:
    forms: list[Any] = []

    def answer(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path.startswith("/token"):
            query = urlsplit(path).query if method == "GET" else body.decode()
            forms.append((method, headers.get("Authorization"), parse_qs(query)))
            return 200, {}, b'{"token": "t"}'
        if headers.get("Authorization") == "Bearer t":
            return 200, {}, BLOB
        scope = 'scope="repository:team/app:pull"'
        challenge = f'Bearer realm="http://{server.host}/token",service="s",{scope}'
        return 401, {"WWW-Authenticate": challenge}, b""

    server.answer = answer
    assert repository(server, credentials).read_blob(DIGEST) == BLOB
    ((method, header, form),) = forms
    assert (form["service"], form["scope"]) == (["s"], ["repository:team/app:pull"])
    if credentials and credentials.identity_token:
        assert (method, form["grant_type"], form["refresh_token"]) == (
            "POST",
            ["refresh_token"],
            ["i"],
        )
    else:
        assert (method, header) == ("GET", "Basic dTpw" if credentials else None)


@pytest.mark.parametrize("answer", [PAGE, (200, {}, b"{}"), (200, {}, b'{"token": "a b"}')])
def test_a_token_server_that_is_none_is_named(server: AnsweringServer, answer: Answer) -> None:
    challenge = {"WWW-Authenticate": f'Bearer realm="http://{server.host}/token"'}
    server.answer = lambda _m, path, *_: answer if "token" in path else (401, challenge, b"")
    with pytest.raises(RegistryError, match=r"/token was answered with"):
        repository(server, Credentials("u", "p")).read_blob(DIGEST)


def test_a_registry_with_an_authority_of_its_own_is_told_how_to_be_trusted(
    server: AnsweringServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any, **_options: Any) -> Any:
        raise NoAnswer("self-signed certificate", Cause.CERTIFICATE, sent=False)

    asked = repository(server)
    monkeypatch.setattr(asked, "_request", refuse)
    with pytest.raises(RegistryError, match=r"with ca_cert where .* in SSL_CERT_FILE"):
        asked.manifest("1")
