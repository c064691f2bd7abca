"""An API server in this process, and ways to talk to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from streamops_sandbox.kube.server import ApiServer

APPLY = "application/apply-patch+yaml"


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, Any], seconds: float = 90.0) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(seconds)

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(60)
        self.loop.close()


@dataclass
class Cluster:
    """A running API server as a client sees it."""

    server: ApiServer
    loop: Loop
    folder: Path
    kubeconfig: Path
    token: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints; its errors go into the assertion."""
        result = self.kubectl_result(*arguments, stdin=stdin)
        if check and result.returncode != 0:
            raise AssertionError(f"kubectl {arguments}: {result.stdout}{result.stderr}")
        return result.stdout

    def environment(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """What kubectl runs with; its cache stays in the test's folder."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "KUBECONFIG": str(kubeconfig or self.kubeconfig),
        }

    def kubectl_result(
        self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=self.environment(kubeconfig),
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        code: int | None = None,
        token: str | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Any:
        """One request; the decoded answer. `code` is what it has to be (default: a success)."""
        response = self.raw(
            method, path, body, token=token, content_type=content_type, headers=headers, **query
        )
        expected = code is None and response.ok
        assert expected or response.status_code == code, (response.status_code, response.text)
        return response.json() if response.content else None

    def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> requests.Response:
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method,
                self.server.url + path,
                params=query,
                data=data,
                timeout=60,
                verify=str(self.server.ca_file),
                headers={
                    "Authorization": f"Bearer {self.token if token is None else token}",
                    "Content-Type": content_type,
                    "User-Agent": "tester/1.0",
                    **(headers or {}),
                },
            )

    def apply(self, path: str, body: Any, *, manager: str = "one", **options: Any) -> Any:
        """Server-side apply."""
        return self.call("PATCH", path, body, content_type=APPLY, fieldManager=manager, **options)

    def namespace(self) -> str:
        """A new namespace with the service account every pod needs."""
        name = f"test-{next(self._numbers)}"
        self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        self.call(
            "POST",
            f"/api/v1/namespaces/{name}/serviceaccounts",
            {"metadata": {"name": "default"}},
        )
        return name

    def service_account_token(self, namespace: str, name: str = "default") -> str:
        answer = self.call(
            "POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", {}
        )
        return str(answer["status"]["token"])


def start(folder: Path, loop: Loop, **options: Any) -> Cluster:
    server = ApiServer(folder / "data", **options)
    loop.run(server.start())
    config = server.admin_kubeconfig()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    return Cluster(server, loop, folder, kubeconfig, config["users"][0]["user"]["token"])


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, loop: Loop) -> Iterator[Cluster]:
    """One API server for all tests; each works in a namespace of its own."""
    made = start(tmp_path_factory.mktemp("kube"), loop)
    yield made
    loop.run(made.server.stop())


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    return cluster.namespace()


@pytest.fixture
def empty_cluster(tmp_path: Path, loop: Loop) -> Iterator[Cluster]:
    """An API server for one test that changes the whole cluster."""
    made = start(tmp_path, loop)
    yield made
    loop.run(made.server.stop())


@pytest.fixture
def start_cluster(tmp_path: Path, loop: Loop) -> Iterator[Callable[..., Cluster]]:
    """Starts API servers with options of their own."""
    made: list[Cluster] = []

    def start_(**options: Any) -> Cluster:
        made.append(start(tmp_path / str(len(made)), loop, **options))
        return made[-1]

    yield start_
    for cluster in made:
        loop.run(cluster.server.stop())
