"""The API server: assembles the parts and listens on HTTPS."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import secrets
import ssl
from functools import cache, partial
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from streamops_sandbox.kube import bootstrap
from streamops_sandbox.kube.admission import (
    escalation,
    limit_ranges,
    namespace_lifecycle,
    pod_security,
)
from streamops_sandbox.kube.admission import pods as pods_admission
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.authn import MASTERS, Authentication, User, google_user
from streamops_sandbox.kube.authz import Authorizer
from streamops_sandbox.kube.builtin import builtin_resources
from streamops_sandbox.kube.handler_chain import HandlerChain
from streamops_sandbox.kube.kinds.table import CustomResources, strategies
from streamops_sandbox.kube.non_resource import NonResource
from streamops_sandbox.kube.objects import Objects
from streamops_sandbox.kube.openapi import OpenApi
from streamops_sandbox.kube.resources import Registry
from streamops_sandbox.kube.rest import Handler, Rest, ServerContext
from streamops_sandbox.kube.subresources import access, pods, relay, scale, tokens
from streamops_sandbox.kube.tls import Authority
from streamops_sandbox.kube.tokens import TokenSigner
from streamops_sandbox.kube.webhooks import Webhooks
from streamops_sandbox.objects import Object

ISSUER = "https://kubernetes.default.svc.cluster.local"
DEFAULT_SERVICE_NETWORK = "10.96.0.0/16"
ADMIN = "kubernetes-admin"
_KUBELET_CLIENT = "kube-apiserver-kubelet-client"
_MAX_BODY = 3 * 1024 * 1024
_STOP_SECONDS = 2.0


class ApiServer:
    """A Kubernetes API server in memory.

    `data_dir` keeps its certificate authority and keys; objects live as long as the process.
    `service_cidr` is where cluster IPs come from. `google_tokeninfo_url` makes Google access
    tokens valid, as on GKE.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        google_tokeninfo_url: str | None = None,
        service_cidr: str | None = None,
        version_file: Path | None = None,
    ) -> None:
        self._version_file = version_file
        self._host = host
        self._port = port
        self._google_tokeninfo_url = google_tokeninfo_url
        self._service_network = service_cidr or DEFAULT_SERVICE_NETWORK
        self._admin_token = secrets.token_urlsafe(32)
        self._runner: web.ServerRunner | None = None
        self._context: ServerContext | None = None
        self._authority = Authority(data_dir)

    @property
    def url(self) -> str:
        """Where the server listens: `https://HOST:PORT`."""
        return f"https://{self._host}:{self._port}"

    @property
    def ca_file(self) -> Path:
        """The certificate authority's certificate, PEM."""
        return self._authority.cert_file

    def admin_kubeconfig(self) -> Object:
        """A kubeconfig of a member of `system:masters`."""
        cluster = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self._authority.pem).decode(),
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "sandbox", "cluster": cluster}],
            "users": [{"name": ADMIN, "user": {"token": self._admin_token}}],
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": ADMIN}}],
            "current-context": "sandbox",
        }

    async def start(self) -> None:
        """Begin to serve; the port is known afterwards."""
        network = ipaddress.ip_network(self._service_network)
        service_ip = str(network[1])
        registry = Registry(builtin_resources())
        api = Api(registry, strategies(service_network=self._service_network), CustomResources())
        authorizer = Authorizer(api)
        signer = TokenSigner(issuer=ISSUER, find_uid=api.uid_of)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        webhooks = Webhooks(api, session)
        objects = Objects(
            api,
            mutators=[
                partial(namespace_lifecycle.check, api),
                partial(escalation.check, api, authorizer),
                partial(pods_admission.complete, api),
                partial(limit_ranges.complete, api),
                webhooks.mutate,
            ],
            validators=[
                partial(limit_ranges.check, api),
                partial(pod_security.check, api),
                webhooks.validate,
                api.quotas.check,
            ],
        )
        url = self._google_tokeninfo_url
        google = partial(google_user, url, session) if url else None
        admin = User(ADMIN, (MASTERS,))
        authentication = Authentication(self._admin_token, admin, signer.verify, google)
        trust = partial(self._authority.client_context, _KUBELET_CLIENT, MASTERS)
        self._context = ServerContext(
            api, objects, authentication, authorizer, signer, session, cache(trust)
        )
        plain = NonResource(registry, signer, OpenApi(registry), self._version_file)
        rest = Rest(self._context, _SUBRESOURCES)
        await self._listen(HandlerChain(authentication, authorizer, rest, plain), service_ip)
        bootstrap.fill(api, address=self._host, port=self._port, service_ip=service_ip)

    async def _listen(self, front: HandlerChain, service_ip: str) -> None:
        hosts = [
            self._host, "localhost", "127.0.0.1", service_ip, "kubernetes", "kubernetes.default",
            "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
        ]  # fmt: skip
        context = self._authority.server_context(
            "kube-apiserver", list(dict.fromkeys(hosts)), ssl.CERT_OPTIONAL
        )
        loop = asyncio.get_running_loop()

        def make_request(
            message: Any, payload: Any, protocol: Any, writer: Any, task: asyncio.Task[None]
        ) -> web.BaseRequest:
            return web.BaseRequest(
                message, payload, protocol, writer, task, loop, client_max_size=_MAX_BODY
            )

        server = web.Server(
            front.handle, request_factory=make_request, handler_cancellation=True, access_log=None
        )
        self._runner = web.ServerRunner(
            server, handle_signals=False, shutdown_timeout=_STOP_SECONDS
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, ssl_context=context)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End all watches and close every connection."""
        if self._context is not None:
            self._context.api.store.end_watches()
            await self._context.session.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


_SUBRESOURCES: dict[str, Handler] = {
    "*/scale": scale.serve,
    "bindings": pods.bind,
    "pods/binding": pods.bind,
    "pods/eviction": pods.evict,
    "pods/log": relay.logs,
    "pods/proxy": relay.proxy,
    "services/proxy": relay.proxy,
    "serviceaccounts/token": tokens.request_token,
    "tokenreviews.authentication.k8s.io": tokens.review_token,
    "selfsubjectreviews.authentication.k8s.io": access.who_am_i,
    "subjectaccessreviews.authorization.k8s.io": access.review_access,
    "localsubjectaccessreviews.authorization.k8s.io": access.review_access,
    "selfsubjectaccessreviews.authorization.k8s.io": access.review_access,
    "selfsubjectrulesreviews.authorization.k8s.io": access.review_rules,
}
