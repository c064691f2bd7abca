"""Google's metadata server, one for each pod: how GKE gives pods Google identities.

A pod's Kubernetes token for the workload pool is exchanged at Google's Security Token Service
(RFC 8693) for an access token, which the service account's annotation
`iam.gke.io/gcp-service-account` may trade for one of a Google service account. Contract:
https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity#metadata_server
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
from aiohttp import web

from streamops_sandbox.client import ApiError
from streamops_sandbox.objects import Object

#: (audience, seconds) -> the TokenRequest's status.
RequestToken = Callable[[str, int], Awaitable[Object]]

_PREFIX = "/computeMetadata/v1"
_EARLY_SECONDS = 240.0  # a token this close to its end is replaced, as Google's server does
_TOKEN_SECONDS = 3600

# sock_diag(7): netlink header, inet_diag_req_v2; the user in an answer's inet_diag_msg.
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ALL_STATES = 0xFFFFFFFF
_DIAG_REQUEST = struct.Struct("=IHHII BBBBI 2s2s4s12x4s12x I8s")
_USER_OFFSET = 16 + 64
_TIMEOUT = aiohttp.ClientTimeout(total=20)
_CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
_SCOPES = [_CLOUD_PLATFORM, "https://www.googleapis.com/auth/userinfo.email"]
_FLAVOR = {"Metadata-Flavor": "Google", "Server": "GKE Metadata Server"}


@dataclass(frozen=True)
class GoogleProject:
    """What a cluster on Google knows of its place: `url` is where Google's APIs answer."""

    url: str
    project: str
    location: str
    cluster: str

    @property
    def pool(self) -> str:
        """The workload identity pool."""
        return f"{self.project}.svc.id.goog"

    @property
    def audience(self) -> str:
        """The audience of exchanges at the Security Token Service."""
        provider = (
            f"https://container.googleapis.com/v1/projects/{self.project}"
            f"/locations/{self.location}/clusters/{self.cluster}"
        )
        return f"identitynamespace:{self.pool}:{provider}"


class MetadataServer:
    """Answers one pod, at an address of its own.

    `account` is the e-mail address of the pod's Google service account or "", `user` whose
    connections are answered; None: whoever can connect.
    """

    def __init__(
        self,
        google: GoogleProject,
        session: aiohttp.ClientSession,
        request_token: RequestToken,
        account: str = "",
        user: int | None = None,
    ) -> None:
        self._google = google
        self._session = session
        self._request_token = request_token
        self._google_account = account
        self._user = user
        self._email = account or google.pool
        self._tokens: dict[str, tuple[str, float]] = {}
        app = web.Application(middlewares=[self._for_the_pod, _flavored])
        app.router.add_get("/", _say("computeMetadata/\n"))
        app.router.add_get(f"{_PREFIX}/project/project-id", _say(google.project))
        app.router.add_get(f"{_PREFIX}/universe/universe-domain", _say("googleapis.com"))
        accounts = f"{_PREFIX}/instance/service-accounts/"
        app.router.add_get(accounts + "{account}/", self._describe)
        app.router.add_get(accounts + "{account}/token", self._token)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)

    async def start(self, host: str) -> str:
        """Listen on a free port of `host`; returns `HOST:PORT`."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, 0).start()
        return f"{host}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    @web.middleware
    async def _for_the_pod(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse other users of this machine, who can connect to a loopback address as well."""
        if self._user is not None and request.transport is not None:
            peer = request.transport.get_extra_info("peername")
            if user_of(peer, request.transport.get_extra_info("sockname")) != self._user:
                raise web.HTTPForbidden(text="this metadata server answers its pod only")
        return await handler(request)

    def _account(self, request: web.Request) -> Object:
        if request.match_info["account"] not in ("default", self._email):
            raise web.HTTPNotFound(text="service account not defined")
        return {"aliases": ["default"], "email": self._email, "scopes": _SCOPES}

    async def _describe(self, request: web.Request) -> web.Response:
        if request.query.get("recursive", "").lower() != "true":
            raise web.HTTPNotImplemented(text="only recursive=true is modelled")
        return web.json_response(self._account(request))

    async def _token(self, request: web.Request) -> web.Response:
        self._account(request)
        scopes = request.query.get("scopes") or _CLOUD_PLATFORM
        token, expires = self._tokens.get(scopes, ("", 0.0))
        if expires - time.time() < _EARLY_SECONDS:
            token, expires = self._tokens[scopes] = await self._fetch(scopes.replace(",", " "))
        answer = {
            "access_token": token,
            "expires_in": int(expires - time.time()),
            "token_type": "Bearer",
        }
        return web.json_response(answer)

    async def _fetch(self, scopes: str) -> tuple[str, float]:
        """Return an access token and when it ends (Unix time)."""
        try:
            pod_token = await self._request_token(self._google.pool, _TOKEN_SECONDS)
        except ApiError as error:
            raise web.HTTPServiceUnavailable(text=f"no pod token: {error.message}") from None
        account = self._google_account
        exchange = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": self._google.audience,
            "scope": _CLOUD_PLATFORM if account else scopes,
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "subject_token": pod_token["token"],
        }
        answer = await self._post("/v1/token", data=exchange)
        token = answer["access_token"]
        if not account:
            return token, time.time() + answer["expires_in"]
        answer = await self._post(
            f"/v1/projects/-/serviceAccounts/{account}:generateAccessToken",
            json={"scope": scopes.split()},
            headers={"Authorization": f"Bearer {token}"},
        )
        return answer["accessToken"], datetime.fromisoformat(answer["expireTime"]).timestamp()

    async def _post(self, path: str, **options: Any) -> Object:
        url = self._google.url + path
        try:
            async with self._session.post(url, timeout=_TIMEOUT, **options) as response:
                text = await response.text()
                if response.ok:
                    answer: Object = await response.json()
                    return answer
        except (aiohttp.ClientError, TimeoutError) as error:
            raise web.HTTPBadGateway(text=f"{url}: {error}") from None
        # The client has to see Google's own reason.
        raise _WithStatus(response.status, f"{url}: {text}")


class _WithStatus(web.HTTPError):
    """An answer with any status."""

    def __init__(self, status: int, text: str) -> None:
        self.status_code = status
        super().__init__(text=text)


@web.middleware
async def _flavored(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse what did not mean this server, and say on everything that it is it."""
    if request.path != "/" and request.headers.get("Metadata-Flavor") != "Google":
        raise web.HTTPForbidden(text="Missing required header: Metadata-Flavor", headers=_FLAVOR)
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(_FLAVOR)
        raise
    response.headers.update(_FLAVOR)
    return response


def _say(text: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text=text)

    return handle


def user_of(local: tuple[str, int], remote: tuple[str, int]) -> int | None:
    """Return the user of the socket of this machine that is connected from `local` to `remote`.

    Asks the kernel for this one (sock_diag(7)): /proc/net/tcp may leave out lines while it changes.
    """
    request = _DIAG_REQUEST.pack(
        _DIAG_REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0,
        socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES,
        *(struct.pack("!H", port) for _, port in (local, remote)),
        *(socket.inet_aton(address) for address, _ in (local, remote)),
        0, b"\xff" * 8,
    )  # fmt: skip
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(1.0)
        netlink.send(request)
        answer = netlink.recv(8192)
    if struct.unpack_from("=IH", answer)[1] != _SOCK_DIAG_BY_FAMILY:
        return None
    user: int = struct.unpack_from("=I", answer, _USER_OFFSET)[0]
    return user
