"""Certificates, lost answers, and the transport that google-auth gets."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from google.auth.exceptions import TransportError
from support.ports import free_port

from ansible_collections.streamops.knative.plugins.module_utils._google.http_client import Http
from ansible_collections.streamops.knative.plugins.module_utils._http.errors import (
    NoAnswer,
    SettingError,
)

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
def closed() -> int:
    """A port on which nobody listens."""
    return free_port()


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_authorities_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content:
        bundle.write_text(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with pytest.raises(SettingError, match=f"REQUESTS_CA_BUNDLE names {bundle}"):
        Http(5).request("GET", "https://iam.googleapis.com/")


def test_whether_a_request_may_have_arrived(closed: int) -> None:
    with pytest.raises(NoAnswer) as refused:
        Http(5).request("POST", f"http://127.0.0.1:{closed}/", body=b"{}")
    assert refused.value.sent is False
    silent = Listener(b"")
    with pytest.raises(NoAnswer) as lost:
        Http(5).request("POST", f"http://127.0.0.1:{silent.port}/", body=b"{}")
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
