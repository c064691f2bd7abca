"""What another user of the machine and a web page can do to a running sandbox: nothing."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sandbox import Cluster, sandbox

_NOBODY = 65534
_AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
_PRINCIPAL = json.dumps({"member": "user:me@example.com", "project": "sandbox-project"}).encode()


def as_another_user(action: Callable[[], str]) -> str:
    """Run a function in a process of a user without rights; returns what it returned."""
    reading, writing = os.pipe()
    child = os.fork()  # no new program: this interpreter may lie where that user cannot read
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(_NOBODY)
            os.setuid(_NOBODY)
            os.write(writing, action().encode())
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        text = answers.read()
    os.waitpid(child, 0)
    return text


def answer(
    url: str, *, headers: dict[str, str] | None = None, data: bytes | None = None
) -> tuple[int, str]:
    """Status and body of a request without credentials."""
    request = urllib.request.Request(url, data=data, headers=headers or {})
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def listeners(cluster: Cluster) -> dict[str, str]:
    """Every HTTP service of the sandbox by name, with a path that answers without credentials."""
    urls = cluster.state["urls"]
    return {
        "google": f"{urls['google']}/tokeninfo",
        "x": f"{urls['x']}/2/tweets/search/recent",
        "registry": f"{urls['registry']}/v2/",
        "releases": f"{urls['releases']}/healthz",
        "kubernetes": f"{cluster.state['clusters'][cluster.name]['url']}/version",
    }


@pytest.mark.parametrize("service", ["google", "x", "registry", "releases"])
@pytest.mark.parametrize("path", ["/_sandbox/principals", "/_sandbox/x/keys", "/google/principals"])
def test_no_control_interface_is_on_the_network(cluster: Cluster, service: str, path: str) -> None:
    status, body = answer(cluster.state["urls"][service] + path, data=_PRINCIPAL)
    assert status in (403, 404, 405, 501), body
    assert "private_key" not in body
    assert "refresh_token" not in body


@_AS_ROOT
def test_another_user_cannot_use_the_control_socket(cluster: Cluster) -> None:
    path = Path(cluster.state["home"]) / "control.sock"
    assert stat.S_ISSOCK(path.stat().st_mode)

    def connect() -> str:
        socket.socket(socket.AF_UNIX).connect(str(path))
        return "connected"

    assert as_another_user(connect).startswith("PermissionError")


@_AS_ROOT
def test_another_user_cannot_read_the_sandboxs_folder(cluster: Cluster) -> None:
    home = Path(cluster.state["home"])
    names = ("", "service-account.json", "x-keys.json", "docker-config.json", "clusters")

    def read() -> str:
        return " ".join(name for name in names if os.access(home / name, os.R_OK))

    assert all((home / name).exists() for name in names)
    assert as_another_user(read) == ""


def test_keys_are_readable_for_their_owner_only(cluster: Cluster) -> None:
    home = Path(cluster.state["home"])
    secret = [
        path
        for pattern in ("*.json", "*.sock", "clusters/*/kubeconfig", "clusters/*/kube/*", "logs/*")
        for path in home.glob(pattern)
        if path.name != "no-posts.json"
    ]
    assert len(secret) > 8
    assert [str(path) for path in secret if path.stat().st_mode & 0o077] == []


@pytest.mark.parametrize("service", ["google", "x", "registry", "releases", "kubernetes"])
def test_requests_of_web_pages_are_refused(cluster: Cluster, service: str) -> None:
    url = listeners(cluster)[service]
    asked, _ = answer(url)
    assert asked != 403
    for headers in (
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.rebound.example"},
        {"Origin": "https://page.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://page.example", "Authorization": "Basic bWU6bWU="},
    ):
        status, body = answer(url, headers=headers)
        assert status == 403, (headers, body)
    assert answer(url, headers={"Host": "localhost"})[0] == asked


def test_two_host_headers_are_refused(cluster: Cluster) -> None:
    host, _, port = cluster.state["urls"]["google"].rpartition("/")[2].rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(
            b"GET /tokeninfo HTTP/1.1\r\nHost: localhost\r\nHost: rebound.example\r\n"
            b"Connection: close\r\n\r\n"
        )
        line = connection.makefile("rb").readline()
    assert line.split()[1] in (b"400", b"403")


def test_a_folder_others_can_enter_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "open"
    home.mkdir()
    home.chmod(0o755)
    done = sandbox("up", "--port", "0", home=home, check=False)
    assert done.returncode == 1
    assert "chmod 700' on it" in done.stderr
    assert list(home.iterdir()) == []
