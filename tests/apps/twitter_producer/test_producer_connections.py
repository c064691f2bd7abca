"""The connections to a sink: kept, renewed, led through a proxy."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.producer import PATIENCE, Kit, wait_for
from support.tls import issue

from twitter_producer.connections import Connections, Unreachable

OK = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def _listening(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[int]]]:
    """Have `serve` answer on each connection; gives the URL, and the ports of the clients."""
    listener = socket.create_server(("127.0.0.1", 0))
    clients: list[int] = []

    def accept() -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            clients.append(address[1])
            with connection:
                serve(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", clients
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(PATIENCE)


def _read(connection: socket.socket) -> bytes:
    """Return one request, b"" at the end; its body is `body`."""
    got = b""
    while not got.endswith(b"\r\n\r\nbody"):
        more = connection.recv(65536)
        if not more:
            return b""
        got += more
    return got


def test_a_connection_is_kept_and_one_that_was_closed_is_replaced() -> None:
    hang_up = threading.Event()
    gone = threading.Event()

    def serve(connection: socket.socket) -> None:
        while _read(connection):
            connection.sendall(OK)
            if hang_up.is_set():
                hang_up.clear()
                break
        connection.close()
        gone.set()

    with _listening(serve) as (url, clients):
        to = Connections(url, PATIENCE, None)
        assert [to.post(b"body", {}).status for _ in range(3)] == [202] * 3
        assert len(clients) == 1
        hang_up.set()
        assert to.post(b"body", {}).status == 202
        assert gone.wait(PATIENCE)
        assert to.post(b"body", {}).status == 202
        assert len(clients) == 2
        to.close()


def test_of_an_endless_answer_only_the_beginning_is_read() -> None:
    def serve(connection: socket.socket) -> None:
        _read(connection)
        connection.sendall(b"HTTP/1.1 400 No\r\n\r\n")
        try:
            while True:
                connection.sendall(b"no " * 1000)
        except OSError:
            pass  # the client has had enough

    with _listening(serve) as (url, _clients):
        to = Connections(url, PATIENCE, None)
        reply = to.post(b"body", {})
        assert (reply.status, len(reply.body)) == (400, 64 << 10)
        to.close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [(b"", "RemoteDisconnected"), (b"SSH-2.0-OpenSSH\r\n", "BadStatusLine")],
)
def test_what_is_no_answer_is_told_and_the_next_request_is_a_new_one(
    answer: bytes, told: str
) -> None:
    answers = [answer, OK]

    def serve(connection: socket.socket) -> None:
        _read(connection)
        connection.sendall(answers.pop(0))

    with _listening(serve) as (url, _clients):
        to = Connections(url, PATIENCE, None)
        with pytest.raises(Unreachable, match=told):
            to.post(b"body", {})
        assert to.post(b"body", {}).status == 202
        to.close()


def test_answer_that_is_cut_off_counts_by_its_status() -> None:
    answers = [b"HTTP/1.1 202 Accepted\r\nContent-Length: 9\r\n\r\n", OK]

    def serve(connection: socket.socket) -> None:
        _read(connection)
        connection.sendall(answers.pop(0))

    with _listening(serve) as (url, clients):
        to = Connections(url, PATIENCE, None)
        assert [to.post(b"body", {}).status for _ in range(2)] == [202, 202]
        assert len(clients) == 2
        to.close()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_answer_that_drips_is_given_up_at_the_deadline(head: bytes) -> None:
    """Each byte comes well within the time limit of a read."""
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        _read(connection)
        try:
            connection.sendall(head)
            while not done.wait(0.05):
                connection.sendall(b"H")
        except OSError:
            pass  # the client has given up

    with _listening(serve) as (url, _clients):
        to = Connections(url, 0.5, None)
        with pytest.raises(Unreachable, match="TimeoutError"):
            to.post(b"body", {})
        done.set()


def test_request_that_is_not_read_is_given_up_at_the_deadline() -> None:
    done = threading.Event()

    def serve(connection: socket.socket) -> None:
        while not done.wait(0.05):
            connection.recv(1)

    with _listening(serve) as (url, _clients):
        to = Connections(url, 0.5, None)
        with pytest.raises(Unreachable, match="TimeoutError"):
            to.post(b"x" * (64 << 20), {})
        done.set()


def test_request_under_way_can_be_ended_by_another_thread() -> None:
    asked, done = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        _read(connection)
        asked.set()
        done.wait(PATIENCE)

    with _listening(serve) as (url, _clients):
        to = Connections(url, 2 * PATIENCE, None)

        def abort() -> None:
            asked.wait(PATIENCE)
            to.abort()

        thread = threading.Thread(target=abort)
        thread.start()
        with pytest.raises(Unreachable):
            to.post(b"body", {})
        done.set()
        thread.join(PATIENCE)


def test_header_that_could_smuggle_another_is_not_sent() -> None:
    to = Connections("http://127.0.0.1:9/", PATIENCE, None)
    with pytest.raises(Unreachable):
        to.post(b"body", {"Authorization": "Bearer a\r\nce-id: 1"})


class _Proxy(BaseHTTPRequestHandler):
    """Notes what it is asked for, and answers for the sink or leads to it."""

    protocol_version = "HTTP/1.1"
    asked: list[tuple[str, str, str | None]]

    def do_POST(self) -> None:
        self._note()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_CONNECT(self) -> None:
        self._note()
        host, port = self.path.split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(there, self.connection))
            back.start()
            _copy(self.connection, there)
            back.join(PATIENCE)
        self.close_connection = True

    def _note(self) -> None:
        self.asked.append((self.command, self.path, self.headers["Proxy-Authorization"]))

    def log_message(self, format: str, *args: object) -> None:
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # either side may go first


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, str | None]]]:
    """A proxy that the environment names; gives what it was asked for."""
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked: list[tuple[str, str, str | None]] = []
    handler = type("Handler", (_Proxy,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


AUTHORIZATION = "Basic " + base64.b64encode(b"me:secret").decode()


def test_proxy_of_the_environment_is_asked(proxy: list[tuple[str, str, str | None]]) -> None:
    to = Connections("http://sink.example/events", PATIENCE, None)
    assert to.post(b"body", {}).status == 202
    to.close()
    assert proxy == [("POST", "http://sink.example/events", AUTHORIZATION)]


def test_proxy_is_left_out_where_the_environment_says_so(
    proxy: list[tuple[str, str, str | None]], kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1,.svc")
    sink = kit.sink()
    to = Connections(sink.url, PATIENCE, None)
    assert to.post(b"body", {}).status == 202
    to.close()
    assert (len(sink.received), proxy) == (1, [])


def test_proxy_is_a_tunnel_for_tls(
    proxy: list[tuple[str, str, str | None]], kit: Kit, tmp_path: Path
) -> None:
    authority, certificate = issue("localhost", tmp_path)
    sink = kit.sink(tls=certificate)
    to = Connections(sink.url, PATIENCE, ssl.create_default_context(cadata=authority))
    assert [to.post(b"body", {}).status for _ in range(2)] == [202, 202]
    to.close()
    address = sink.url.removeprefix("https://").strip("/")
    wait_for(lambda: proxy)
    assert proxy == [("CONNECT", address, AUTHORIZATION)]
    assert "proxy-authorization" not in sink.received[0].headers
