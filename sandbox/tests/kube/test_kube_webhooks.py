"""Admission webhooks: really called over TLS, patches taken, failures worded as upstream."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamops_sandbox.kube.tls import Authority

Json = dict[str, Any]
Answer = Callable[[Json], Json]


class Hook:
    """An HTTPS server that answers AdmissionReviews."""

    def __init__(self, folder: Path, host: str) -> None:
        authority = Authority(folder)
        cert, key = authority.issue("hook", hosts=[host])
        (folder / "pair.pem").write_bytes(cert + key)
        self.bundle = base64.b64encode(authority.pem).decode()
        self.requests: list[Json] = []
        self.urls: list[str] = []
        self.answer: Answer = lambda request: {"allowed": True}
        self.delay = 0.0
        #: Promise to keep connections, but close each after its answer.
        self.keep_alive = False
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.requests.append(body["request"])
                hook.urls.append(f"{self.headers['Host']}{self.path}")
                time.sleep(hook.delay)
                response = {"uid": body["request"]["uid"], **hook.answer(body["request"])}
                content = json.dumps({**body, "response": response}).encode()
                if hook.keep_alive:
                    self.protocol_version = "HTTP/1.1"
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pair.pem")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def hook(tmp_path: Path, namespace: str) -> Iterator[Hook]:
    made = Hook(tmp_path / "hook", f"hook.{namespace}.svc")
    yield made
    made.close()


@pytest.fixture
def service(cluster: Any, namespace: str, hook: Hook) -> None:
    """The hook as a Service with one endpoint."""
    cluster.call(
        "POST",
        f"/api/v1/namespaces/{namespace}/services",
        {"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443}]}},
    )
    publish(cluster, namespace, hook.port)


def publish(cluster: Any, namespace: str, port: int) -> None:
    cluster.call(
        "POST",
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
        {
            "metadata": {"name": "hook", "labels": {"kubernetes.io/service-name": "hook"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": port}],
        },
    )


@pytest.fixture
def configure(cluster: Any, namespace: str, hook: Hook) -> Iterator[Callable[..., Json]]:
    """Configures the hook for ConfigMaps of the test's namespace; undone afterwards."""
    made: list[str] = []

    def configure_(kind: str = "Validating", **options: Any) -> Json:
        plural = f"{kind.lower()}webhookconfigurations"
        path = f"/apis/admissionregistration.k8s.io/v1/{plural}"
        name = f"{namespace}-{len(made)}"
        webhook = {
            "name": f"check.{namespace}.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {
                "service": {"name": "hook", "namespace": namespace, "path": "/check"},
                "caBundle": hook.bundle,
            },
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [
                {
                    "operations": ["CREATE", "UPDATE"],
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "resources": ["configmaps"],
                }
            ],
            **options,
        }
        answer = cluster.call("POST", path, {"metadata": {"name": name}, "webhooks": [webhook]})
        made.append(f"{path}/{name}")
        return answer

    yield configure_
    for path in made:
        cluster.call("DELETE", path)


@pytest.fixture
def configmaps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def test_is_asked_with_everything_it_needs(
    cluster, namespace, hook, service, configure, configmaps
):
    defaulted = configure()["webhooks"][0]
    assert (defaulted["failurePolicy"], defaulted["timeoutSeconds"]) == ("Fail", 10)
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}, "data": {"k": "v"}})
    (request,) = hook.requests
    assert hook.urls == [f"hook.{namespace}.svc/check?timeout=10s"]
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (request["operation"], request["namespace"], request["name"]) == (
        "CREATE",
        namespace,
        "a",
    )
    assert request["object"]["data"] == {"k": "v"}
    assert request["oldObject"] is None
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert request["dryRun"] is False


def test_refuses_with_its_own_words(cluster, namespace, hook, service, configure, configmaps):
    configure()
    hook.answer = lambda request: {
        "allowed": False,
        "status": {"message": "no such thing", "reason": "BadRequest", "code": 400},
    }
    status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, code=400)
    assert status["message"] == (
        f'admission webhook "check.{namespace}.io" denied the request: no such thing'
    )
    hook.answer = lambda request: {"allowed": False}
    status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, code=400)
    assert status["message"].endswith("denied the request without explanation")
    cluster.call("GET", f"{configmaps}/a", code=404)


def test_mutates_and_nobody_owns_the_change(
    cluster, namespace, hook, service, configure, configmaps
):
    configure("Mutating")
    patch = [{"op": "add", "path": "/data", "value": {"injected": "yes"}}]
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()
    hook.answer = lambda request: {
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": encoded,
        "warnings": ["mind the gap"],
    }
    answer = cluster.raw("POST", configmaps, {"metadata": {"name": "a"}})
    assert answer.json()["data"] == {"injected": "yes"}
    assert answer.headers["Warning"] == '299 - "mind the gap"'
    assert "managedFields" not in answer.json()["metadata"]


def test_is_asked_again_after_others_have_changed_the_object(
    cluster, namespace, hook, service, configure, configmaps
):
    configure("Mutating", reinvocationPolicy="IfNeeded")
    second = configure("Mutating", name=f"second.{namespace}.io")["webhooks"][0]
    assert second["reinvocationPolicy"] == "Never"

    def answer(request: Json) -> Json:
        if (request["object"].get("data") or {}).get("k"):
            return {"allowed": True}
        patch = [{"op": "add", "path": "/data", "value": {"k": "v"}}]
        encoded = base64.b64encode(json.dumps(patch).encode()).decode()
        return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}

    hook.answer = answer
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})
    assert len(hook.requests) == 3
    assert hook.requests[-1]["object"]["data"] == {"k": "v"}


def test_sees_repeated_applies_too(cluster, namespace, hook, service, configure, configmaps):
    configure()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    versions = {
        cluster.apply(f"{configmaps}/a", body)["metadata"]["resourceVersion"] for _ in range(3)
    }
    assert len(versions) == 1
    assert len(hook.requests) == 3


@pytest.mark.parametrize("side_effects", ["None", "NoneOnDryRun"])
def test_knows_about_dry_runs(
    cluster, namespace, hook, service, configure, configmaps, side_effects
):
    configure(sideEffects=side_effects)
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, dryRun="All")
    assert hook.requests[0]["dryRun"] is True


@pytest.mark.parametrize(
    ("selector", "asked"), [({"matchLabels": {"on": "yes"}}, 1), ({"matchLabels": {"on": "no"}}, 0)]
)
def test_selects_objects(cluster, namespace, hook, service, configure, configmaps, selector, asked):
    configure(objectSelector=selector)
    cluster.call("POST", configmaps, {"metadata": {"name": "a", "labels": {"on": "yes"}}})
    assert len(hook.requests) == asked


def test_failures_say_what_failed(cluster, namespace, hook, configure, configmaps):
    configure(timeoutSeconds=3)
    url = f"https://hook.{namespace}.svc:443/check?timeout=3s"
    failing = (
        f'Internal error occurred: failed calling webhook "check.{namespace}.io": failed to call '
        f'webhook: Post "{url}": '
    )

    def message() -> str:
        status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, code=500)
        assert status["reason"] == "InternalError"
        return str(status["message"])

    assert message() == failing + 'service "hook" not found'
    cluster.call(
        "POST",
        f"/api/v1/namespaces/{namespace}/services",
        {"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "https", "port": 443}]}},
    )
    assert message() == failing + 'no endpoints available for service "hook"'
    publish(cluster, namespace, 1)
    assert message() == failing + "dial tcp 127.0.0.1:1: connect: connection refused"
    cluster.call(
        "PATCH",
        f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/hook",
        {"ports": [{"name": "https", "port": hook.port}]},
        content_type="application/merge-patch+json",
    )
    hook.delay = 3.5
    assert message() == failing + "context deadline exceeded"
    hook.delay = 0.0
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})


def test_certificates_are_verified(
    cluster, namespace, hook, service, configure, configmaps, tmp_path
):
    stranger = base64.b64encode(Authority(tmp_path / "other").pem).decode()
    configure(
        clientConfig={
            "service": {"name": "hook", "namespace": namespace},
            "caBundle": stranger,
        }
    )
    status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, code=500)
    assert (
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
        in (status["message"])
    )


def test_a_webhook_that_closed_its_connection_is_asked_again(
    cluster, namespace, hook, service, configure, configmaps
):
    configure()
    hook.keep_alive = True
    for number in range(3):
        cluster.call("POST", configmaps, {"metadata": {"name": f"a{number}"}})
    assert len(hook.requests) == 3


def test_failures_can_be_ignored(cluster, configure, configmaps):
    configure(failurePolicy="Ignore")
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})


def test_configurations_are_checked(cluster):
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    hook = {
        "name": "a.b.io",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "Some",
        "timeoutSeconds": 99,
        "clientConfig": {},
    }
    status = cluster.call("POST", path, {"metadata": {"name": "a"}, "webhooks": [hook]}, code=422)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert fields == {
        "webhooks[0].sideEffects",
        "webhooks[0].timeoutSeconds",
        "webhooks[0].clientConfig",
    }
    hook |= {"sideEffects": "None", "timeoutSeconds": 1, "clientConfig": {"url": "https://x"}}
    hook["matchConditions"] = [{"name": "a", "expression": "object.spec =="}]
    status = cluster.call("POST", path, {"metadata": {"name": "a"}, "webhooks": [hook]}, code=422)
    assert "compilation failed: ERROR: <input>:1:15: Syntax error" in status["message"]


def test_an_object_that_only_a_webhook_could_convert_answers_501(cluster, namespace):
    group = f"{namespace}.example.org"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [
        {"name": name, "served": True, "storage": name == "v2", "schema": schema}
        for name in ("v1", "v2")
    ]
    client = {"service": {"name": "hook", "namespace": "default"}}
    webhook = {"conversionReviewVersions": ["v1"], "clientConfig": client}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"books.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"plural": "books", "kind": "Book"},
            "versions": versions,
            "conversion": {"strategy": "Webhook", "webhook": webhook},
        },
    }
    cluster.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    book = {"apiVersion": f"{group}/v2", "kind": "Book", "metadata": {"name": "a"}}
    cluster.call("POST", f"/apis/{group}/v2/books", book)
    assert cluster.call("GET", f"/apis/{group}/v2/books/a")["apiVersion"] == f"{group}/v2"
    message = cluster.call("GET", f"/apis/{group}/v1/books/a", code=501)["message"]
    assert "conversion webhooks" in message
