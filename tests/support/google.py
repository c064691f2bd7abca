"""Google's stand-in on a thread of the test, and modules run as Ansible runs them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import io
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web
from ansible.module_utils.testing import patch_module_args
from google.auth.transport.requests import Request
from google.oauth2 import service_account

from streamops_sandbox import control_socket
from streamops_sandbox.clusters import VERSION_FILE, Cluster, Clusters
from streamops_sandbox.google.app import PROJECT, create_app
from streamops_sandbox.home import Home
from streamops_sandbox.kube.server import ApiServer

MODULES = "ansible_collections.streamops.knative.plugins.modules"
ALL_SERVICES = (
    "artifactregistry.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "container.googleapis.com",
    "iam.googleapis.com",
    "secretmanager.googleapis.com",
)
POOL = f"{PROJECT}.svc.id.goog"


class ApiServers(Clusters):
    """Clusters that are API servers alone: real ones, without nodes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Home(folder), lambda: None)
        self._servers: dict[str, tuple[Cluster, ApiServer]] = {}

    async def create(self, name: str, google: Mapping[str, str] | None = None) -> Cluster:
        """Start an API server."""
        folder = self._home.cluster(name)
        tokeninfo = f"{google['url']}/tokeninfo" if google else None
        server = ApiServer(
            folder, google_tokeninfo_url=tokeninfo, version_file=folder / VERSION_FILE
        )
        await server.start()
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.admin_kubeconfig()))
        cluster = Cluster(name, server.url, server.ca_file.read_text(), kubeconfig)
        self._servers[name] = (cluster, server)
        return cluster

    async def delete(self, name: str) -> None:
        """Stop it."""
        _, server = self._servers.pop(name)
        await server.stop()

    def list(self) -> list[Cluster]:
        """All of them."""
        return [cluster for cluster, _ in self._servers.values()]


@dataclass
class Google:
    """A running stand-in."""

    url: str
    home: Path
    clusters: ApiServers

    @property
    def key_file(self) -> Path:
        """The key of the account that owns the project."""
        return self.home / "service-account.json"

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask for what only tests ask for."""
        return control_socket.call(Home(self.home), method, f"/google/{path}", body)[1]

    def token(self, member: str, project: str = PROJECT) -> str:
        """An access token of any principal."""
        body = {"member": member, "project": project}
        credentials = self.control("POST", "principals", body)
        if "access_token" in credentials:
            return str(credentials["access_token"])
        raise AssertionError(f"{member} has a key, not a token")

    @functools.cached_property
    def owner_token(self) -> str:
        """An access token of the account that owns the project, got once."""
        return self.token_of_owner()

    def token_of_owner(self) -> str:
        """A new access token of the account that owns the project."""
        credentials = service_account.Credentials.from_service_account_file(
            self.key_file, scopes=["https://www.googleapis.com/auth/cloud-platform"]
        )
        credentials.refresh(Request())
        return str(credentials.token)

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """One request without any client: status and JSON."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def calls(self) -> list[str]:
        """The methods of Google's that were called since the last time, in order."""
        found = [call["method"] for call in self.control("GET", "calls")["calls"]]
        self.control("DELETE", "calls")
        return found

    def options(self) -> dict[str, Any]:
        """What a module needs to talk to this stand-in as the project's owner."""
        return {
            "project": PROJECT,
            "auth_kind": "serviceaccount",
            "service_account_file": str(self.key_file),
            "endpoint": self.url,
        }

    def run(self, module: str, **options: Any) -> dict[str, Any]:
        """Run a module as the owner; the result, failed or not."""
        return run_module(module, {**self.options(), **options})

    def run_quickly(self, module: str, **options: Any) -> dict[str, Any]:
        """The same with a token, which spares each run the 60 ms it takes to read and use a key."""
        caller = {
            "project": PROJECT,
            "endpoint": self.url,
            "auth_kind": "accesstoken",
            "access_token": self.owner_token,
        }
        return run_module(module, {**caller, **options})


@contextlib.contextmanager
def google_sandbox(home: Path, services: tuple[str, ...] = ALL_SERVICES) -> Iterator[Google]:
    """A stand-in for the duration of a `with`."""
    home.mkdir(mode=0o700, exist_ok=True)
    started = threading.Event()
    stop: asyncio.Event
    loop: asyncio.AbstractEventLoop
    running: list[Google] = []

    async def serve() -> None:
        nonlocal stop, loop
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        clusters = ApiServers(home / "clusters")
        app = create_app(home=home, base_url=url, clusters=clusters, enabled_services=services)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        control = web.Application()
        control.add_subapp("/google", app[control_socket.CONTROL])
        controls = await control_socket.serve(control, Home(home))
        running.append(Google(url, home, clusters))
        started.set()
        await stop.wait()
        await runner.cleanup()
        await controls.cleanup()
        for cluster in clusters.list():
            await clusters.delete(cluster.name)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(60), "the stand-in did not start"
    try:
        yield running[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(90)


def run_module(
    name: str, options: dict[str, Any], *, check: bool = False, diff: bool = False
) -> dict[str, Any]:
    """Run a module's main() with arguments as Ansible passes them; what it printed as its result."""
    module = importlib.import_module(f"{MODULES}.{name}")
    given = {k: v for k, v in options.items() if not k.startswith("_ansible")}
    output = io.StringIO()
    with (
        patch_module_args(
            {
                **given,
                "_ansible_check_mode": check or options.get("_ansible_check_mode", False),
                "_ansible_diff": diff or options.get("_ansible_diff", False),
            }
        ),
        contextlib.redirect_stdout(output),
        contextlib.suppress(SystemExit),
    ):
        module.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result
