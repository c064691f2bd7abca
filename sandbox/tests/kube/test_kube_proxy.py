"""pods/proxy and services/proxy: requests into the cluster through the API server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        asked = {
            "method": self.command,
            "path": self.path,
            "body": body,
            "authorization": self.headers.get("Authorization"),
            "custom": self.headers.get("X-Custom"),
        }
        content = json.dumps(asked).encode()
        self.send_response(418)
        self.send_header("X-Answer", "yes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def pod(cluster, namespace, port) -> str:
    path = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "a", "image": "b", "ports": [{"name": "http", "containerPort": port}]}
    cluster.call("POST", path, {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    status = {"status": {"podIP": "127.0.0.1", "phase": "Running"}}
    cluster.call("PATCH", f"{path}/p/status", status, content_type="application/merge-patch+json")
    return f"{path}/p"


def test_passes_requests_and_answers_on(cluster, pod, port):
    for target in (pod, f"{pod}:{port}", f"{pod}:http"):
        answer = cluster.raw(
            "POST", f"{target}/proxy/a%2Fb/c?x=1&y=%20", {"k": "v"}, headers={"X-Custom": "z"}
        )
        assert (answer.status_code, answer.headers["X-Answer"]) == (418, "yes")
        assert answer.json() == {
            "method": "POST",
            "path": "/a%2Fb/c?x=1&y=%20",
            "body": '{"k": "v"}',
            "authorization": None,
            "custom": "z",
        }
    assert cluster.raw("GET", f"{pod}/proxy").json()["path"] == "/"


def test_says_what_cannot_be_reached(cluster, pod, namespace):
    status = cluster.call("GET", f"{pod}:1/proxy/", code=503)
    assert status["message"] == (
        "error trying to reach service: dial tcp 127.0.0.1:1: connect: connection refused"
    )
    cluster.call("GET", f"/api/v1/namespaces/{namespace}/pods/none/proxy/", code=404)
    token = cluster.service_account_token(namespace)
    status = cluster.call("GET", f"{pod}/proxy/", token=token, code=403)
    assert 'cannot get resource "pods/proxy"' in status["message"]


def test_services(cluster, namespace, port):
    services = f"/api/v1/namespaces/{namespace}/services"
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
    cluster.call("POST", services, body)
    status = cluster.call("GET", f"{services}/s:web/proxy/", code=503)
    assert status["message"] == 'no endpoints available for service "s"'
    cluster.call(
        "POST",
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        {
            "metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "s"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"]}],
            "ports": [{"name": "web", "port": port}],
        },
    )
    for name in ("s", "s:80", "s:web", "http:s:web"):
        assert cluster.raw("DELETE", f"{services}/{name}/proxy/x").json()["method"] == "DELETE"
