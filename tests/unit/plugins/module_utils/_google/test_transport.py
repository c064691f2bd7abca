"""Ways to a server: proxies, authorities, timeouts, and connections that end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.auth.exceptions import TransportError

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import (
    ConfigError,
    Unreachable,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.transport import Http

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Listener:
    """Takes one connection after another, notes what comes first on each, and answers that."""

    def __init__(self, answer: bytes) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._answer = answer
        self.port = self._socket.getsockname()[1]
        self.heads: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (part := connection.recv(65536)):
                    head += part
                self.heads.append(head.decode())
                connection.sendall(self._answer)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def proxy() -> Iterator[Listener]:
    running = Listener(OK)
    yield running
    running.close()


@pytest.fixture
def closed() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_a_proxy_reads_plain_requests(proxy: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://ada:p%40ss@127.0.0.1:{proxy.port}")
    answer = Http(5).request("GET", "http://metadata.example.com/a?b=c", None, {"X": "y"})
    assert answer.status == 200
    lines = proxy.heads[0].splitlines()
    assert lines[0] == "GET http://metadata.example.com/a?b=c HTTP/1.1"
    assert "Host: metadata.example.com" in lines
    assert "Proxy-Authorization: Basic YWRhOnBAc3M=" in lines


def test_a_proxy_tunnels_what_is_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    refusing = Listener(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{refusing.port}")
    with pytest.raises(Unreachable, match="407 Proxy Authentication Required") as refused:
        Http(5).request("POST", "https://secretmanager.googleapis.com/v1/x", b"payload", {})
    assert refused.value.sent is False
    refusing.close()
    assert refusing.heads[0].startswith("CONNECT secretmanager.googleapis.com:443 ")
    assert "payload" not in refusing.heads[0]


def test_hosts_without_a_proxy(
    proxy: Listener, closed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert Http(5).request("GET", f"http://127.0.0.1:{proxy.port}", None, {}).status == 200
    assert proxy.heads[0].startswith("GET / HTTP/1.1")


def test_a_proxy_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigError, match="HTTPS_PROXY: a proxy of the kind socks5://"):
        Http(5).request("GET", "https://iam.googleapis.com/", None, {})


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_authorities_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(ConfigError, match=f"REQUESTS_CA_BUNDLE names {bundle}"):
        Http(5).request("GET", "https://iam.googleapis.com/", None, {})


def test_whether_a_request_may_have_arrived(closed: int) -> None:
    with pytest.raises(Unreachable) as refused:
        Http(5).request("POST", f"http://127.0.0.1:{closed}/", b"{}", {})
    assert refused.value.sent is False
    silent = Listener(b"")
    with pytest.raises(Unreachable) as lost:
        Http(5).request("POST", f"http://127.0.0.1:{silent.port}/", b"{}", {})
    assert lost.value.sent is True
    silent.close()


def test_google_auth_is_told_in_its_own_terms_and_waits_as_long_as_it_likes(closed: int) -> None:
    """Otherwise it does not go on to look elsewhere when there is no metadata server."""
    with pytest.raises(TransportError, match="cannot be reached"):
        Http(5)(f"http://127.0.0.1:{closed}/")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        with pytest.raises(TransportError, match=r"within 0\.1 s"):
            Http(30)(url, timeout=0.1)
