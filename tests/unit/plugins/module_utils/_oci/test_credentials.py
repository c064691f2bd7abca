"""Credentials in every form that docker, podman and their helpers write."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import (
    Credentials,
    find_credentials,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OptionError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference

HOST = "r.example.com:5000"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


AUTH = {"auth": encoded("u:p")}
USER = Credentials("u", "p")
TOKEN = Credentials("00000000-0000-0000-0000-000000000000", "", identity_token="t")


def find(tmp_path: Path, config: Any, name: str = f"{HOST}/team/app") -> Credentials | None:
    file = tmp_path / "config.json"
    file.write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    return find_credentials(file, Reference.parse(name, "name"))


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, status: int = 0) -> None:
    """Install docker-credential-x, which prints `output` and keeps what it was asked for."""
    program = tmp_path / "docker-credential-x"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/asked\necho '{output}'\nexit {status}\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.mark.parametrize(
    "key",
    [HOST, f"https://{HOST}", f"http://{HOST}/", f"https://{HOST}/v2/", f"{HOST}/v1", HOST.upper()],
)
def test_keys_of_a_registry(tmp_path: Path, key: str) -> None:
    assert find(tmp_path, {"auths": {"other.example.com": AUTH, key: AUTH}}) == USER


@pytest.mark.parametrize(
    "key",
    ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"],
)
@pytest.mark.parametrize("name", ["python", "docker.io/team/app", "index.docker.io/team/app"])
def test_keys_of_docker_hub(tmp_path: Path, key: str, name: str) -> None:
    assert find(tmp_path, {"auths": {key: AUTH}}, name) == USER


def test_the_most_specific_namespace_wins(tmp_path: Path) -> None:
    auths = {
        HOST: {"auth": encoded("all:1")},
        f"{HOST}/team": {"auth": encoded("team:2")},
        f"{HOST}/team/app": {"auth": encoded("app:3")},
        f"{HOST}/te": {"auth": encoded("te:4")},
    }
    found = [
        find(tmp_path, {"auths": auths}, f"{HOST}/{name}")
        for name in ("team/app", "team/b", "te2/c")
    ]
    assert [one.username for one in found if one] == ["app", "team", "all"]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "u", "password": "p"}, USER),
        ({"auth": encoded("u:p:q")}, Credentials("u", "p:q")),
        ({"auth": encoded("u:p\0\0")}, USER),
        ({"auth": encoded(f"{TOKEN.username}:"), "identitytoken": "t"}, TOKEN),
        ({"registrytoken": "t"}, Credentials(access_token="t")),
        ({}, None),
        ({"email": "a@example.com"}, None),
        (None, None),
    ],
)
def test_forms_of_an_entry(
    tmp_path: Path, entry: dict[str, str] | None, expected: Credentials | None
) -> None:
    assert find(tmp_path, {"auths": {HOST: entry}}) == expected


@pytest.mark.parametrize(
    "config", [{"credHelpers": {HOST: "x"}}, {"auths": {HOST: {}}, "credsStore": "x"}]
)
def test_credential_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any]
) -> None:
    helper(tmp_path, monkeypatch, '{"ServerURL": "x", "Username": "u", "Secret": "p"}')
    assert find(tmp_path, config) == USER
    assert (tmp_path / "asked").read_text() == HOST
    helper(tmp_path, monkeypatch, '{"Username": "<token>", "Secret": "t"}')
    assert find(tmp_path, config) == Credentials(identity_token="t")
    helper(tmp_path, monkeypatch, "credentials not found in native keychain", 1)
    assert find(tmp_path, config) is None


@pytest.mark.parametrize(
    ("output", "status", "text"),
    [
        (
            "store is locked",
            1,
            "docker-credential-x failed for r.example.com:5000: store is locked",
        ),
        ("hello", 0, "did not print JSON with Username and Secret"),
        ("{}", 0, "did not print JSON with Username and Secret"),
    ],
)
def test_helpers_that_fail_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, status: int, text: str
) -> None:
    helper(tmp_path, monkeypatch, output, status)
    with pytest.raises(OptionError, match=text):
        find(tmp_path, {"credsStore": "x"})


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (b"{", "cannot be read"),
        (b"[]", "is not a JSON object"),
        ({"auths": []} | {"auths": ["x"]}, "auths is not an object"),
        ({"auths": {HOST: {"auth": "not Base64"}}}, "auth of r.example.com:5000 is not the Base64"),
        ({"credHelpers": {HOST: "../evil"}}, "'../evil' is not the name of a credential helper"),
        ({"credsStore": "missing"}, "docker-credential-missing, which cannot be started"),
    ],
)
def test_configurations_that_cannot_be_used_are_named(
    tmp_path: Path, config: Any, text: str
) -> None:
    with pytest.raises(OptionError, match=text):
        find(tmp_path, config)


def test_an_empty_file_and_one_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert find(tmp_path, b"") is None
    assert find(tmp_path, "\ufeff{}".encode()) is None
