"""A running sandbox for tests, used through clients others wrote: the kubernetes package, kubectl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import client, config
from kubernetes.dynamic import DynamicClient

Object = dict[str, Any]
T = TypeVar("T")

_PATIENCE_SECONDS = 100.0  # tests run beside each other on small machines


def sandbox(*arguments: str, home: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command `sandbox` on a folder."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "streamops_sandbox",
            arguments[0],
            "--home",
            str(home),
            *arguments[1:],
        ],
        check=check,
        capture_output=True,
        text=True,
        timeout=180,
    )


def state_of(home: Path) -> Object:
    """Return what state.json says."""
    state: Object = json.loads((home / "state.json").read_text())
    return state


def until(check: Callable[[], T | None], what: str, seconds: float = _PATIENCE_SECONDS) -> T:
    """Return the first true result of `check`; fails, saying what was waited for, after a while."""
    deadline = time.monotonic() + seconds
    while True:
        result = check()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(0.05)


class Cluster:
    """A cluster of a running sandbox.

    `image` is an image with nothing but Python in it, which `registry` (HOST:PORT) serves.
    """

    def __init__(self, name: str, state: Object) -> None:
        self.name = name
        self.state = state
        self.kubeconfig = Path(state["clusters"][name]["kubeconfig"])
        self.registry = state["urls"]["registry"].removeprefix("http://")
        self.image = f"{self.registry}/library/python:3-slim"
        self.api = config.new_client_from_config(str(self.kubeconfig))
        self.core = client.CoreV1Api(self.api)
        self.dynamic = DynamicClient(self.api)

    def apply(self, *objects: Object) -> None:
        """Apply objects, each with its namespace."""
        for obj in objects:
            resource = self.dynamic.resources.get(api_version=obj["apiVersion"], kind=obj["kind"])
            self.dynamic.server_side_apply(
                resource, obj, field_manager="tests", force_conflicts=True
            )

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> Object:
        """Return an object. kubernetes.dynamic.exceptions.NotFoundError."""
        resource = self.dynamic.resources.get(api_version=api_version, kind=kind)
        found: Object = resource.get(name=name, namespace=namespace).to_dict()
        return found

    def list(
        self, api_version: str, kind: str, namespace: str | None = None, selector: str = ""
    ) -> list[Object]:
        """Return the objects of a kind."""
        resource = self.dynamic.resources.get(api_version=api_version, kind=kind)
        found: list[Object] = resource.get(namespace=namespace, label_selector=selector).to_dict()[
            "items"
        ]
        return found

    def patch(
        self, api_version: str, kind: str, name: str, namespace: str | None, change: Object
    ) -> None:
        """Merge a change into an object."""
        resource = self.dynamic.resources.get(api_version=api_version, kind=kind)
        resource.patch(
            name=name,
            namespace=namespace,
            body=change,
            content_type="application/merge-patch+json",
        )

    def patch_status(
        self, api_version: str, kind: str, name: str, namespace: str, status: Object
    ) -> None:
        """Merge a change into an object's status."""
        resource = self.dynamic.resources.get(api_version=api_version, kind=kind)
        resource.status.patch(
            name=name,
            namespace=namespace,
            body={"status": status},
            content_type="application/merge-patch+json",
        )

    def delete(
        self, api_version: str, kind: str, name: str, namespace: str | None = None, **options: Any
    ) -> None:
        """Delete an object."""
        resource = self.dynamic.resources.get(api_version=api_version, kind=kind)
        resource.delete(name=name, namespace=namespace, body=options or None)

    def pods(self, namespace: str, selector: str = "") -> list[Object]:
        """Return pods."""
        return self.list("v1", "Pod", namespace, selector)

    def logs(self, pod: str, namespace: str, **options: Any) -> str:
        """Return a pod's log."""
        # The package's own decoding makes "b'…'" of it.
        answer = self.core.read_namespaced_pod_log(
            pod, namespace, _preload_content=False, **options
        )
        text: str = answer.data.decode()
        return text

    def kubectl(
        self,
        *arguments: str,
        stdin: str | None = None,
        check: bool = True,
        env: dict[str, str] | None = None,
    ) -> str:
        """Run kubectl; returns what it printed."""
        result = subprocess.run(
            ["kubectl", *arguments],
            env={
                **os.environ,
                "KUBECONFIG": str(self.kubeconfig),
                "KUBECACHEDIR": str(self.kubeconfig.parent / "kubectl-cache"),
                **(env or {}),
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and result.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout + result.stderr

    def python_pod(self, name: str, namespace: str, code: str, **spec: Any) -> Object:
        """Return a pod that runs Python code; `spec` goes into the container, but restartPolicy."""
        policy = spec.pop("restartPolicy", "Always")
        pod_spec = spec.pop("pod", {})
        container = {
            "name": "main",
            "image": self.image,
            "command": ["python3", "-u", "-c", code],
            **spec,
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
            "spec": {"restartPolicy": policy, "containers": [container], **pod_spec},
        }

    def wait_for_pod(
        self, name: str, namespace: str, check: Callable[[Object], object], what: str
    ) -> Object:
        """Wait until a pod's status satisfies `check`; returns the pod."""

        def look() -> Object | None:
            pod = self.get("v1", "Pod", name, namespace)
            return pod if check(pod.get("status") or {}) else None

        return until(look, f"pod {name}: {what}")


def is_ready(status: Object) -> bool:
    """Whether a pod's status says Ready."""
    conditions = status.get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


#: A server that says on which address it answers; `$(HOST)` is the pod's own.
SERVER = """
import http.server, os, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"{os.environ['HOSTNAME']} {self.path} host={self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        length = self.headers["Content-Length"]
        if length:
            data = self.rfile.read(int(length))
        else:
            data = b""
            while size := int(self.rfile.readline(), 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
    def log_message(self, *args): pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
port = int(os.environ.get("PORT", "8080"))
print("serving", flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], port), Handler).serve_forever()
"""
