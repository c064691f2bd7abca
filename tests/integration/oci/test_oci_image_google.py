"""Pushing with Google's credentials, as to Artifact Registry: an access token as the password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.google import Google, google_sandbox, run_module
from support.registries import Registry, sandbox_registry


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Google]:
    with google_sandbox(tmp_path / "google") as running:
        yield running


@pytest.fixture
def registry(google: Google, tmp_path: Path) -> Iterator[Registry]:
    with sandbox_registry(
        tmp_path / "home", google_tokeninfo_url=f"{google.url}/tokeninfo"
    ) as running:
        yield running


def test_service_account_pushes_and_an_unknown_token_does_not(build, google, registry) -> None:
    keep = ("name", "path", "base", "cache", "entrypoint")
    task = {name: build.options[name] for name in keep} | {"auth": "google"}
    key = {"auth_kind": "serviceaccount", "service_account_file": str(google.key_file)}
    refused = run_module(
        "oci_image", {**task, "auth_kind": "accesstoken", "access_token": "made-up"}
    )
    assert refused["failed"]
    assert "401" in refused["msg"]
    assert "made-up" not in refused["msg"]
    made = run_module("oci_image", {**task, **key})
    assert made["changed"], made
    info = run_module("oci_image_info", {"name": f"{task['name']}:latest", "auth": "docker"})
    assert (info["exists"], info["image"]) == (True, made["image"])
    missing = run_module("oci_image_info", {"name": f"{task['name']}:none", "auth": "docker"})
    assert (missing["exists"], missing["image"]) == (False, None)
