"""One cluster with Kubernetes' own control plane, as a process: what `python -m streamops_sandbox.cluster` is.

etcd, kube-apiserver and kube-controller-manager run as upstream built them; scheduler, node, proxy and
load balancer are the sandbox's. It writes `FOLDER/kubeconfig` and then `ready` and a newline to its
standard output, and runs until SIGTERM, or until its standard input is closed.

Runs within the network and mount namespace that `lane.py` makes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import os
import secrets
import ssl
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from node import LaneNode
from pod_network import PodNetwork

from build import PROGRAMS
from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.cluster import arguments, google_project, run_node, serve
from streamops_sandbox.controllers.loadbalancer import LoadBalancerController
from streamops_sandbox.kube.authn import google_user
from streamops_sandbox.kube.tls import Authority, write_private
from streamops_sandbox.node import reaper
from streamops_sandbox.node.agent import NodeConfig

Object = dict[str, Any]

#: In the environment of what a cluster starts.
MARK = "REAL_CLUSTER"
ISSUER = "https://kubernetes.default.svc.cluster.local"
_PORT = 6443
_START_SECONDS = 120.0


class StartError(Exception):
    """A part of the cluster did not start; the message ends with its log's last lines."""


class ControlPlane:
    """etcd, API server and controller manager of one cluster, below a folder."""

    def __init__(self, folder: Path, network: PodNetwork, google_url: str) -> None:
        self.folder = folder
        self.network = network
        self.authority = Authority(folder)
        self.url = f"https://{network.node_ip}:{_PORT}"
        self._loopback = f"127.{network.number}.0.1"
        self._google_url = google_url
        self._id = uuid.uuid4().hex
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._reaper: asyncio.subprocess.Process | None = None

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    async def start(self, *, controllers: bool) -> None:
        """Start everything; returns when namespaces get their service accounts. Raises StartError.

        Without `controllers` it is etcd and the API server, as soon as that is ready.
        """
        self._write_identities()
        await self._start_reaper()
        await self._run("etcd", "go.etcd.io/etcd/server/v3", self._etcd())
        await self._run("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", self._apiserver())
        async with asyncio.timeout(_START_SECONDS):
            await self._until_ready()
            if not controllers:
                return
            manager = "kube-controller-manager"
            await self._run(manager, f"k8s.io/kubernetes/cmd/{manager}", self._controller_manager())
            await self._until_accounts()

    async def stop(self) -> None:
        """Kill everything: what it keeps is of no use to anybody afterwards."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            await self._reaper.wait()

    async def failed(self) -> None:
        """Return when one of the programs has ended, by raising a StartError."""
        tasks = {
            asyncio.create_task(process.wait()): name for name, process in self._processes.items()
        }
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        names = ", ".join(tasks[task] for task in done)
        raise StartError(f"{names} ended; the log ends with: {self._log_tail(tasks[done.pop()])}")

    # -- identities --------------------------------------------------------------------------------

    def _write_identities(self) -> None:
        (self.folder / "pki").mkdir()
        first_service = f"10.{self.network.number}.64.1"
        hosts = [
            self.network.node_ip,
            first_service,
            "localhost",
            "kubernetes",
            "kubernetes.default",
        ]
        hosts += ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        self._write_pair("apiserver", *self.authority.issue("kube-apiserver", hosts=hosts))
        kubelet_client = self.authority.issue("kube-apiserver-kubelet-client")
        self._write_pair("kubelet-client", *kubelet_client)
        # Any key pair will do for signing tokens.
        self._write_pair("service-accounts", *self.authority.issue("service-accounts"))
        webhook = self.authority.issue("google-tokens", hosts=[self._loopback])
        self._write_pair("google-tokens", *webhook)
        token = secrets.token_urlsafe(32)
        line = f"{token},kubernetes-admin,,system:masters\n"
        write_private(self.folder / "pki" / "tokens.csv", line.encode())
        self._write_kubeconfig(self.kubeconfig, "kubernetes-admin", {"token": token})
        manager = "system:kube-controller-manager"
        certificate, key = self.authority.issue(manager)
        identity = {
            "client-certificate-data": base64.b64encode(certificate).decode(),
            "client-key-data": base64.b64encode(key).decode(),
        }
        self._write_kubeconfig(self.folder / "controller-manager.kubeconfig", manager, identity)

    def _write_pair(self, name: str, certificate: bytes, key: bytes) -> None:
        (self.folder / "pki" / f"{name}.crt").write_bytes(certificate)
        write_private(self.folder / "pki" / f"{name}.key", key)

    def _write_kubeconfig(self, path: Path, user: str, identity: dict[str, str]) -> None:
        authority = base64.b64encode(self.authority.pem).decode()
        cluster = {"server": self.url, "certificate-authority-data": authority}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": user}}],
            "current-context": "real",
        }
        write_private(path, yaml.safe_dump(config).encode())

    # -- programs ----------------------------------------------------------------------------------

    def _etcd(self) -> dict[str, str]:
        client, peer = f"http://{self._loopback}:2379", f"http://{self._loopback}:2380"
        return {
            "name": "etcd",
            "data-dir": str(self.folder / "etcd"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"etcd={peer}",
            "unsafe-no-fsync": "true",  # what is in it does not outlive the process
            "log-level": "warn",
        }

    def _apiserver(self) -> dict[str, str]:
        pki = self.folder / "pki"
        flags = {
            "etcd-servers": f"http://{self._loopback}:2379",
            "bind-address": self.network.node_ip,
            "advertise-address": self.network.node_ip,
            "secure-port": str(_PORT),
            "cert-dir": str(self.folder / "apiserver"),
            "tls-cert-file": str(pki / "apiserver.crt"),
            "tls-private-key-file": str(pki / "apiserver.key"),
            "client-ca-file": str(self.authority.cert_file),
            "kubelet-client-certificate": str(pki / "kubelet-client.crt"),
            "kubelet-client-key": str(pki / "kubelet-client.key"),
            "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": ISSUER,
            "service-account-key-file": str(pki / "service-accounts.crt"),
            "service-account-signing-key-file": str(pki / "service-accounts.key"),
            "service-cluster-ip-range": self.network.service_cidr,
            "token-auth-file": str(pki / "tokens.csv"),
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
        }
        if self._google_url:
            flags["authentication-token-webhook-config-file"] = str(self._webhook_config())
            flags["authentication-token-webhook-version"] = "v1"
        return flags

    def _controller_manager(self) -> dict[str, str]:
        pki = self.folder / "pki"
        return {
            "kubeconfig": str(self.folder / "controller-manager.kubeconfig"),
            "bind-address": self._loopback,
            "cert-dir": str(self.folder / "controller-manager"),
            "leader-elect": "false",
            "use-service-account-credentials": "true",
            "service-account-private-key-file": str(pki / "service-accounts.key"),
            "root-ca-file": str(self.authority.cert_file),
            "cluster-signing-cert-file": str(self.authority.cert_file),
            "cluster-signing-key-file": str(self.authority.key_file),
        }

    async def _run(self, name: str, program: str, flags: dict[str, str]) -> None:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            self._processes[name] = await asyncio.create_subprocess_exec(
                str(PROGRAMS / program),
                *(f"--{flag}={value}" for flag, value in flags.items()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], MARK: self._id, "GOMAXPROCS": "2"},
            )

    async def _start_reaper(self) -> None:
        """Start what ends the programs should this process be killed."""
        self._reaper = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", reaper.__file__, MARK, self._id),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )

    async def _until_ready(self) -> None:
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        async with aiohttp.ClientSession() as session:
            while True:
                self._raise_if_ended()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/readyz", ssl=context) as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def _until_accounts(self) -> None:
        config = yaml.safe_load(self.kubeconfig.read_text(encoding="utf-8"))
        async with Client(config, user_agent="real-lane") as client:
            while True:
                self._raise_if_ended()
                try:
                    await client.get("v1", "ServiceAccount", "default", "default")
                except ApiError:
                    await asyncio.sleep(0.1)
                else:
                    return

    def _raise_if_ended(self) -> None:
        for name, process in self._processes.items():
            if process.returncode is not None:
                raise StartError(f"{name} ended at once; its log ends with: {self._log_tail(name)}")

    def _log_tail(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return text.strip()[-1500:]

    # -- Google's tokens ---------------------------------------------------------------------------

    def _webhook_config(self) -> Path:
        path = self.folder / "google-tokens.kubeconfig"
        cluster = {
            "server": f"https://{self._loopback}:{_PORT}/",
            "certificate-authority": str(self.authority.cert_file),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "google", "cluster": cluster}],
            "users": [{"name": "apiserver", "user": {}}],
            "contexts": [{"name": "google", "context": {"cluster": "google", "user": "apiserver"}}],
            "current-context": "google",
        }
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    @contextlib.asynccontextmanager
    async def google_tokens(self) -> AsyncIterator[None]:
        """Answer the API server's TokenReviews of Google access tokens, as GKE does."""
        if not self._google_url:
            yield
            return
        session = aiohttp.ClientSession()

        async def review(request: web.Request) -> web.Response:
            body = await request.json()
            found = await google_user(
                f"{self._google_url}/tokeninfo", session, body["spec"]["token"]
            )
            status: Object = {"authenticated": found is not None}
            if found is not None:
                status["user"] = found[0].info()
            return web.json_response({**body, "status": status})

        app = web.Application()
        app.router.add_post("/", review)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        pki = self.folder / "pki"
        context.load_cert_chain(pki / "google-tokens.crt", pki / "google-tokens.key")
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._loopback, _PORT, ssl_context=context).start()
            yield
        finally:
            await runner.cleanup()
            await session.close()


async def _run(options: argparse.Namespace) -> None:
    network = PodNetwork.reserve()
    network.open()
    plane = ControlPlane(options.folder, network, options.google_url)
    try:
        await plane.start(controllers=not options.bare)
        async with plane.google_tokens():
            if options.bare:
                print("ready", flush=True)
                await plane.failed()
            await _run_node(plane, options)
    finally:
        await plane.stop()
        network.close()


async def _run_node(plane: ControlPlane, options: argparse.Namespace) -> None:
    """Run what Kubernetes' own programs leave to a node and a cloud."""
    kubeconfig = yaml.safe_load(plane.kubeconfig.read_text(encoding="utf-8"))
    config = NodeConfig(
        folder=plane.folder / "node",
        authority=plane.authority,
        name=options.name,
        google=google_project(options),
    )
    await run_node(
        kubeconfig,
        lambda client: LaneNode(client, kubeconfig, plane.network, config, PROGRAMS),
        lambda client: [LoadBalancerController(client).run(), plane.failed()],
    )


def main() -> int:
    """Run a cluster until told to stop."""
    parser = arguments(__doc__)
    parser.add_argument("--bare", action="store_true", help="no more than the API server")
    serve(parser.parse_args(), _run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
