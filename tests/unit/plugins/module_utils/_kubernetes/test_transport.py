"""The transport: trust, proxies, kept connections, timeouts."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.http_server import answering, serving
from support.tls import issue

from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.config import (
    ClusterConfig,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    ConfigError,
    Unreachable,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.transport import (
    Transport,
)

ONCE = Retries(attempts=0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen: list[Any]

    def do_PATCH(self) -> None:
        length = int(self.headers["Content-Length"])
        self.server.bodies.append(self.rfile.read(length))  # type: ignore[attr-defined]
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append(self)  # type: ignore[attr-defined]  # set by serve()
        body = b"<html>Sign in</html>" if self.path == "/sign-in" else b'{"ok": true}'
        token = self.server.token  # type: ignore[attr-defined]  # set by serve()
        guarded = self.path == "/guarded" and self.headers["Authorization"] != f"Bearer {token}"
        status = 401 if guarded or self.path == "/secret" else 200
        busy = self.path == "/busy" and len(self.server.seen) <= 2  # type: ignore[attr-defined]  # set by serve()
        kinds = {"/sign-in": "text/html", "/openapi/v3": "text/plain; charset=utf-8"}
        self.send_response(429 if busy else status)
        if busy and len(self.server.seen) == 1:  # type: ignore[attr-defined]  # set by serve()
            self.send_header("Retry-After", "0")
        self.send_header("Content-Type", kinds.get(self.path, "application/json"))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Warning", '299 - "policy/v1beta1 is deprecated"')
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/once":
            self.close_connection = True

    def log_message(self, *_args: Any) -> None:
        pass


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[Any]:
    with serving(Handler, certificate) as server:
        server.seen, server.bodies, server.token = [], [], ""
        yield server


def test_only_the_cluster_s_own_ca_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, our_file = issue("api.example.com", tmp_path)
    theirs, their_file = issue("other.example.com", tmp_path)
    with serve(our_file) as server:
        url = f"https://127.0.0.1:{server.server_port}"
        config = {"host": url, "tls_server_name": "api.example.com"}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(their_file))
        monkeypatch.setenv("SSL_CERT_FILE", str(their_file))
        assert Transport(ClusterConfig(ca_cert=ours, **config)).request("GET", "/x") == {"ok": True}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(our_file))
        monkeypatch.setenv("SSL_CERT_FILE", str(our_file))
        with pytest.raises(Unreachable, match=r"is not trusted .*: set ca_cert"):
            Transport(ClusterConfig(ca_cert=theirs, **config)).request("GET", "/x")
        lax = ClusterConfig(validate_certs=False, **config)
        assert Transport(lax).request("GET", "/x") == {"ok": True}
        wrong_name = ClusterConfig(host=url, ca_cert=ours)
        with pytest.raises(Unreachable, match="not trusted"):
            Transport(wrong_name).request("GET", "/x")


def test_what_is_no_certificate_is_named() -> None:
    with pytest.raises(ConfigError, match="ca_cert is not a PEM certificate"):
        Transport(ClusterConfig(host="https://x", ca_cert="nonsense"))
    with pytest.raises(ConfigError, match="client_cert and client_key do not match"):
        Transport(ClusterConfig(host="https://x", client_cert="a", client_key="b"))


def test_connections_are_kept_and_a_closed_one_is_replaced() -> None:
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        for _ in range(3):
            transport.request("GET", "/x")
        assert len({handler.client_address for handler in server.seen}) == 1
        transport.request("GET", "/once")
        assert transport.request("GET", "/after") == {"ok": True}
        assert len({handler.client_address for handler in server.seen}) == 2
        transport.close()


def test_identity_is_sent_and_warnings_are_kept() -> None:
    with serve() as server:
        config = ClusterConfig(
            host=f"http://127.0.0.1:{server.server_port}",
            api_key="secret",
            impersonate_user="jane",
            impersonate_groups=("a", "b"),
        )
        transport = Transport(config)
        transport.request("GET", "/x", query={"limit": 1})
        headers = server.seen[0].headers
        assert headers["Authorization"] == "Bearer secret"
        assert headers["Impersonate-User"] == "jane"
        assert headers.get_all("Impersonate-Group") == ["a", "b"]
        assert list(transport.warnings) == ["policy/v1beta1 is deprecated"]
        transport.close()


def test_a_refused_token_says_what_to_do() -> None:
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        with pytest.raises(ApiError, match="log in again and renew the kubeconfig") as refused:
            transport.request("GET", "/secret")
        assert refused.value.status == 401
        transport.close()


def test_no_answer_is_a_timeout_with_its_option() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match=r"did not answer within 0.2 s \(request_timeout\)"):
            Transport(ClusterConfig(host=url), timeout=0.2, retries=ONCE).request("GET", "/x")


def test_an_unknown_name_is_told_from_a_refused_connection() -> None:
    with pytest.raises(Unreachable, match="the name cannot be resolved"):
        Transport(ClusterConfig(host="https://no-such-host.invalid"), retries=ONCE).request(
            "GET", "/x"
        )
    with pytest.raises(Unreachable, match=r"cannot be reached .*is the cluster up"):
        Transport(ClusterConfig(host="https://127.0.0.1:9"), retries=ONCE).request("GET", "/x")


@contextmanager
def tunnel(target: Callable[[], int]) -> Iterator[tuple[int, list[str]]]:
    """An HTTP proxy for one CONNECT; yields its port and the lines of the request."""
    lines: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def pump(source: socket.socket, sink: socket.socket) -> None:
        while data := source.recv(65536):
            sink.sendall(data)
        # Closing would not reach the peer while the other thread still reads from this socket.
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def work() -> None:
        client, _ = listener.accept()
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(65536)
        lines.extend(head.decode().splitlines())
        upstream = socket.create_connection(("127.0.0.1", target()))
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        back = threading.Thread(target=pump, args=(upstream, client))
        back.start()
        with client, upstream:
            pump(client, upstream)
            back.join()

    thread = threading.Thread(target=work)
    thread.start()
    yield listener.getsockname()[1], lines
    thread.join(60)
    listener.close()


def test_a_proxy_is_given_the_name_and_its_credentials(tmp_path: Path) -> None:
    ca, path = issue("api.example.com", tmp_path)
    with serve(path) as server, tunnel(lambda: server.server_port) as (port, lines):
        config = ClusterConfig(
            host="https://api.example.com:6443",
            ca_cert=ca,
            proxy=f"http://me:p%40ss@127.0.0.1:{port}",
        )
        transport = Transport(config)
        assert transport.request("GET", "/x") == {"ok": True}
        transport.close()
    assert lines[0].startswith("CONNECT api.example.com:6443 ")
    assert "proxy-authorization: Basic bWU6cEBzcw==" in [
        line.replace("Proxy-A", "proxy-a") for line in lines
    ]


def test_json_is_json_whatever_its_content_type() -> None:
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        assert transport.request("GET", "/openapi/v3") == {"ok": True}


def test_an_answer_that_is_not_json_names_what_was_asked_and_what_came() -> None:
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        with pytest.raises(
            Unreachable, match=r"GET http://\S+/sign-in was answered with text/html"
        ):
            transport.request("GET", "/sign-in")


def test_a_server_that_is_too_busy_is_asked_again() -> None:
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        assert transport.request("GET", "/busy") == {"ok": True}
        assert len(server.seen) == 3


def test_a_server_that_stays_too_busy_is_given_up_on() -> None:
    with serve() as server:
        config = ClusterConfig(host=f"http://127.0.0.1:{server.server_port}")
        transport = Transport(config, retries=ONCE)
        with pytest.raises(ApiError) as caught:
            transport.request("GET", "/busy")
        assert (caught.value.status, len(server.seen)) == (429, 1)


def test_what_is_sent_is_json_and_yaml() -> None:
    """API servers read applied objects as YAML, which has no surrogate pairs."""
    body = {"text": '\U0001f680 \u00e4 \x00\n\t"\\ \x7f\x85\u2028\ufeff\uffff'}
    with serve() as server:
        transport = Transport(ClusterConfig(host=f"http://127.0.0.1:{server.server_port}"))
        transport.request("PATCH", "/x", body=body, content_type="application/apply-patch+yaml")
        (sent,) = server.bodies
    assert json.loads(sent) == yaml.safe_load(sent.decode()) == body


def renewing(config: ClusterConfig, tokens: list[str], **more: Any) -> ClusterConfig:
    return replace(config, renew=lambda: {"api_key": tokens.pop(0), "expires": None}, **more)


def test_credentials_that_are_refused_are_renewed_once() -> None:
    with serve() as server:
        server.token = "new"
        config = ClusterConfig(host=f"http://127.0.0.1:{server.server_port}", api_key="old")
        tokens = ["new", "newer"]
        transport = Transport(renewing(config, tokens))
        assert transport.request("GET", "/guarded") == {"ok": True}
        assert transport.request("GET", "/guarded") == {"ok": True}
        assert tokens == ["newer"]
        server.token = "other"
        with pytest.raises(ApiError, match="log in again"):
            transport.request("GET", "/guarded")
        assert tokens == []
        transport.close()


def test_credentials_are_renewed_before_they_expire() -> None:
    with serve() as server:
        server.token = "new"
        config = ClusterConfig(host=f"http://127.0.0.1:{server.server_port}", api_key="old")
        soon = datetime.now(UTC) + timedelta(seconds=5)
        transport = Transport(renewing(config, ["new"], expires=soon))
        assert transport.request("GET", "/guarded") == {"ok": True}
        assert len(server.seen) == 1
        transport.close()


OBJECT = {"Content-Type": "application/json"}


@pytest.mark.parametrize("path", ["/api", "/apis", "/api/v1/configmaps", "/version"])
@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"5"])
def test_json_that_is_no_object_is_not_an_answer_of_the_api(path: str, body: bytes) -> None:
    with (
        answering(lambda *_: (200, OBJECT, body)) as server,
        pytest.raises(Unreachable, match="JSON that is not a Kubernetes object") as failed,
    ):
        Transport(ClusterConfig(host=server.url)).request("GET", path)
    assert not failed.value.is_transient


def test_an_object_has_a_kind_but_for_an_app_behind_the_api_server() -> None:
    with answering(lambda *_: (200, OBJECT, b"{}")) as server:
        transport = Transport(ClusterConfig(host=server.url))
        for path in ("/api", "/apis/apps/v1/deployments", "/api/v1/namespaces/default"):
            with pytest.raises(Unreachable, match="not a Kubernetes object"):
                transport.request("GET", path)
        proxied = "/api/v1/namespaces/a/pods/b:80/proxy/api/events"
        assert transport.request("GET", proxied) == {}


@pytest.mark.parametrize(
    ("body", "not_found"),
    [
        (b'{"kind": "Status", "reason": "NotFound", "message": "configmaps a not found"}', True),
        (b"404 page not found\n", True),
        (b"<html>Not found</html>", False),
        (b'{"error": "no route"}', False),
        (b'{"kind": "Status", "message": 5, "details": 7}', True),
        (b"", False),
    ],
)
def test_only_the_api_says_that_something_is_not_there(body: bytes, not_found: bool) -> None:
    with answering(lambda *_: (404, {}, body)) as server, pytest.raises(ApiError) as failed:
        Transport(ClusterConfig(host=server.url)).request("GET", "/api/v1/configmaps/a")
    assert failed.value.not_found is not_found
    assert "\n" not in str(failed.value)


def test_impersonation_is_sent_as_client_go_sends_it() -> None:
    seen: dict[str, str] = {}

    def answer(_method: str, _path: str, headers: dict[str, str], _body: bytes) -> Any:
        seen.update(headers)
        return 200, OBJECT, b"{}"

    with answering(answer) as server:
        config = ClusterConfig(
            host=server.url,
            impersonate_user="bob",
            impersonate_uid="1",
            impersonate_extra=(("example.com/x", ("b",)),),
        )
        Transport(config).request("GET", "/version")
    assert seen["Impersonate-User"] == "bob"
    assert seen["Impersonate-Uid"] == "1"
    assert seen["Impersonate-Extra-example.com%2Fx"] == "b"
