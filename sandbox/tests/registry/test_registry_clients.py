"""The registry through clients that others wrote: oras and skopeo."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import oras.auth.utils as auth_utils
import oras.client
import pytest
from support.registries import Registry, sandbox_registry


@pytest.fixture
def registry(tmp_path: Path):
    with sandbox_registry(tmp_path / "home") as running:
        yield running


def oras_client(registry: Registry, repository: str) -> oras.client.OrasClient:
    """Return a client that may push; oras keeps its first token, so that one is for pushing."""
    client = oras.client.OrasClient(insecure=True)
    client.auth.set_basic_auth(*registry.credentials)
    scope = f'scope="repository:{repository}:pull,push,delete"'
    header = auth_utils.parse_auth_header(f'Bearer realm="{registry.url}/token",{scope}')
    client.auth.set_token_auth(client.auth.request_token(header))
    return client


def skopeo(registry: Registry, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["skopeo", "--insecure-policy", *arguments],
        env=registry.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("chunked", [False, True], ids=["at once", "in chunks"])
def test_oras_pushes_and_pulls_an_artifact(
    registry: Registry, tmp_path: Path, chunked: bool
) -> None:
    source = tmp_path / "hello.txt"
    source.write_text("hello " * 1000)
    client = oras_client(registry, "team/hello")
    target = f"{registry.host}/team/hello:v1"
    client.push(
        target,
        files=[str(source)],
        disable_path_validation=True,
        do_chunked=chunked,
        chunk_size=1000,
    )
    assert client.get_tags(f"{registry.host}/team/hello") == ["v1"]
    (pulled,) = client.pull(target, outdir=str(tmp_path / "out"))
    assert Path(pulled).read_text() == source.read_text()


def test_oras_deletes_a_tag(registry: Registry, tmp_path: Path) -> None:
    source = tmp_path / "hello.txt"
    source.write_text("hello")
    client = oras_client(registry, "team/hello")
    target = f"{registry.host}/team/hello:v1"
    client.push(target, files=[str(source)], disable_path_validation=True)
    assert client.delete_tag(target, "v1")
    with pytest.raises(ValueError, match="Not Found"):
        client.get_manifest(target)


@pytest.mark.needs("skopeo")
def test_skopeo_copies_the_base_image_between_repositories(
    registry: Registry, tmp_path: Path
) -> None:
    base = f"docker://{registry.host}/library/python:3-slim"
    target = f"docker://{registry.host}/team/python:mine"
    copied = skopeo(
        registry, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", base, target
    )
    assert copied.returncode == 0, copied.stderr
    inspected = skopeo(registry, "inspect", "--tls-verify=false", target)
    assert inspected.returncode == 0, inspected.stderr
    image = json.loads(inspected.stdout)
    assert image["RepoTags"] == ["mine"]
    assert any(entry.startswith("PYTHON_VERSION=3.") for entry in image["Env"])
    layout = skopeo(
        registry, "copy", "--src-tls-verify=false", target, f"oci:{tmp_path / 'layout'}:mine"
    )
    assert layout.returncode == 0, layout.stderr


@pytest.mark.needs("skopeo")
def test_skopeo_is_refused_without_credentials(registry: Registry, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody.json"
    nobody.write_text("{}")
    result = skopeo(
        registry,
        "copy",
        f"--dest-authfile={nobody}",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        f"docker://{registry.host}/library/python:3-slim",
        f"docker://{registry.host}/team/python:mine",
    )
    assert result.returncode != 0
    assert "unauthorized" in result.stderr


@pytest.mark.needs("skopeo")
def test_private_registry_asks_for_credentials_to_pull(tmp_path: Path) -> None:
    nobody = tmp_path / "nobody.json"
    nobody.write_text("{}")
    with sandbox_registry(tmp_path / "home", anonymous_pull=False) as registry:
        base = f"docker://{registry.host}/library/python:3-slim"
        allowed = skopeo(registry, "inspect", "--tls-verify=false", base)
        refused = skopeo(registry, "inspect", "--tls-verify=false", f"--authfile={nobody}", base)
    assert allowed.returncode == 0, allowed.stderr
    assert refused.returncode != 0
    assert "unauthorized" in refused.stderr
