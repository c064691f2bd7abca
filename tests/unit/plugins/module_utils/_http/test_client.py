"""The HTTP client against servers that answer as no API would."""

from __future__ import annotations

import http.server
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.http_server import serving
from support.tls import issue

from ansible_collections.streamops.knative.plugins.module_utils._http.client import HttpClient
from ansible_collections.streamops.knative.plugins.module_utils._http.errors import Cause, NoAnswer
from ansible_collections.streamops.knative.plugins.module_utils._http.tls import private_context


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        answer = {
            "/json": (200, "application/json", b'{"ok": true}'),
            "/page": (200, "text/html", b"<html>Sign in</html>"),
            "/truncated": (200, "application/json", b'{"ok": tr'),
            "/large": (200, "application/json", b"x" * 1000),
            "/moved": (302, "text/plain", b""),
        }
        status, kind, body = answer.get(self.path, (200, "application/json", b'{"ok": true}'))
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + 10 * (self.path == "/cut")))
        if status == 302:
            self.send_header("Location", "/json")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/cut"

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[str]:
    with serving(Handler, certificate) as server:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serve() as url:
        yield url


@pytest.mark.parametrize(
    ("path", "message", "cause"),
    [
        ("/page", "was answered with text/html instead of JSON", Cause.FORMAT),
        ("/truncated", "was answered with incomplete JSON", Cause.CONNECTION),
        ("/cut", "cannot be reached", Cause.CONNECTION),
    ],
)
def test_an_answer_that_is_not_json_is_an_error(
    server: str, path: str, message: str, cause: Cause
) -> None:
    client = HttpClient(None, timeout=60)
    with pytest.raises(NoAnswer, match=message) as caught:
        _ = client.request("GET", server + path).json
    assert caught.value.cause is cause
    client.close()


def test_an_answer_is_read_up_to_its_limit(server: str) -> None:
    client = HttpClient(None, timeout=60)
    with pytest.raises(NoAnswer) as caught:
        client.request("GET", f"{server}/large", limit=100)
    assert caught.value.cause is Cause.SIZE
    client.close()


def test_redirects_are_followed_only_where_they_are_expected(server: str) -> None:
    client = HttpClient(None, timeout=60)
    assert client.request("GET", f"{server}/moved").status == 302
    assert client.request("GET", f"{server}/moved", redirects=1).json == {"ok": True}
    client.close()


def test_a_request_that_is_under_way_ends_with_the_client() -> None:
    """A watch that began while it was to be stopped would be read for minutes."""
    asked, may_answer = threading.Event(), threading.Event()

    class Slow(Handler):
        def do_GET(self) -> None:
            asked.set()
            may_answer.wait(30)
            super().do_GET()

    with serving(Slow) as slow, ThreadPoolExecutor() as threads:
        client = HttpClient(None, timeout=30)
        answer = threads.submit(client.request, "GET", f"http://127.0.0.1:{slow.server_port}/json")
        assert asked.wait(30)
        client.close()
        may_answer.set()
        with pytest.raises(NoAnswer, match="the client was closed"):
            answer.result(30)


def test_an_error_names_neither_query_nor_password() -> None:
    client = HttpClient(None, timeout=60)
    with pytest.raises(NoAnswer) as caught:
        client.request("GET", "http://me:s3cret@127.0.0.1:9/x?token=s3cret")
    assert "s3cret" not in str(caught.value)


@contextmanager
def socks_proxy(target: int) -> Iterator[tuple[str, list[str]]]:
    """A SOCKS5 proxy that connects to one port whatever name it is asked for."""
    listener = socket.create_server(("127.0.0.1", 0))
    names: list[str] = []

    def work() -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", target)) as upstream:
            client.recv(2 + client.recv(2, socket.MSG_PEEK)[1])
            client.sendall(b"\x05\x00")
            length = client.recv(5)[4]
            names.append(client.recv(length).decode())
            client.recv(2)
            client.sendall(
                b"\x05\x00\x00\x01" + socket.inet_aton("127.0.0.1") + struct.pack("!H", 1)
            )

            def back() -> None:
                while data := upstream.recv(65536):
                    client.sendall(data)

            thread = threading.Thread(target=back)
            thread.start()
            while data := client.recv(65536):
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_WR)
            thread.join()

    thread = threading.Thread(target=work)
    thread.start()
    yield f"socks5://127.0.0.1:{listener.getsockname()[1]}", names
    thread.join(60)
    listener.close()


def test_a_socks_proxy_resolves_the_name_and_the_certificate_is_checked(tmp_path: Path) -> None:
    ca, path = issue("api.example.com", tmp_path)
    with serve(path) as url, socks_proxy(int(url.rpartition(":")[2])) as (proxy, names):
        client = HttpClient(private_context(ca), timeout=60, proxy=proxy)
        assert client.request("GET", "https://api.example.com/json").json == {"ok": True}
        client.close()
    assert names == ["api.example.com"]


def test_a_clusters_own_ca_is_not_replaced_by_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ca, path = issue("localhost", tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = issue("other.example.com", tmp_path / "other")
    for text, name in ((ca, "ours.pem"), (other, "other.pem")):
        (tmp_path / name).write_text(text)
    with serve(path) as address:
        url = address.replace("127.0.0.1", "localhost")
        for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(variable, str(tmp_path / "other.pem"))
        client = HttpClient(private_context(ca), timeout=60)
        assert client.request("GET", f"{url}/json").status == 200
        client.close()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ours.pem"))
        client = HttpClient(private_context(other), timeout=60)
        with pytest.raises(NoAnswer, match="certificate that is not trusted") as caught:
            client.request("GET", f"{url}/json")
        assert caught.value.cause is Cause.CERTIFICATE
