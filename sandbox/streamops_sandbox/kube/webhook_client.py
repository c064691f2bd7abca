"""Calling webhooks: finding their address, trusting their certificate, saying what failed.

Messages follow k8s.io/apiserver/pkg/util/webhook and Go's net/http, since clients match them.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ssl
from dataclasses import dataclass
from urllib.parse import urlencode

import aiohttp
import orjson
from yarl import URL

from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.endpoints import EndpointError, resolve_service
from streamops_sandbox.objects import Object

_MAX_CONTEXTS = 64


class WebhookError(Exception):
    """A webhook could not be asked, or did not answer as it has to."""


@dataclass(slots=True)
class _Target:
    """Where to connect, and what URL and server name the webhook is known by."""

    url: str
    host: str
    port: int
    address: str
    path: str


class WebhookClient:
    """HTTPS requests from the API server to webhooks in or outside of the cluster."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        client: Object,
        body: Object,
        *,
        timeout: float,  # noqa: ASYNC109 - is part of the URL that is called, too
        query: dict[str, str] | None = None,
    ) -> Object:
        """POST a review to a webhook's `clientConfig`; raises WebhookError."""
        target = self._target(client, query or {})
        context = self._context(client.get("caBundle") or "")
        try:
            async with asyncio.timeout(timeout):
                try:
                    status, content = await self._send(target, context, body)
                except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                    # A kept connection that the webhook has closed meanwhile: once more.
                    status, content = await self._send(target, context, body)
        except TimeoutError as error:
            raise WebhookError(f'Post "{target.url}": context deadline exceeded') from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise WebhookError(
                f'Post "{target.url}": tls: failed to verify certificate: '
                f"{_certificate_problem(error)}"
            ) from error
        except aiohttp.ClientConnectorError as error:
            raise WebhookError(
                f'Post "{target.url}": dial tcp {target.address}:{target.port}: '
                f"connect: {_reason(error)}"
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise WebhookError(f'Post "{target.url}": EOF') from error
        return _decode(content, status)

    async def _send(
        self, target: _Target, context: ssl.SSLContext, body: Object
    ) -> tuple[int, bytes]:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False)
        async with self._session.post(
            URL(f"https://{target.address}:{target.port}{target.path}", encoded=True),
            data=orjson.dumps(body),
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json, */*",
                "Host": target.host,
                "User-Agent": "kube-apiserver-admission",
            },
            ssl=context,
            server_hostname=target.host.partition(":")[0],
        ) as response:
            return response.status, await response.read()

    def _target(self, client: Object, query: dict[str, str]) -> _Target:
        suffix = f"?{urlencode(query)}" if query else ""
        service = client.get("service")
        if service is None:
            return _external(client.get("url") or "", suffix)
        name, namespace = service.get("name", ""), service.get("namespace", "")
        port = service.get("port") or 443
        path = "/" + (service.get("path") or "/").lstrip("/")
        host = f"{name}.{namespace}.svc"
        url = f"https://{host}:{port}{path}{suffix}"
        try:
            address, target_port = resolve_service(self._api, namespace, name, port)
        except EndpointError as error:
            raise WebhookError(f'Post "{url}": {error}') from error
        return _Target(url, host, target_port, address, path + suffix)

    def _context(self, bundle: str) -> ssl.SSLContext:
        """TLS that trusts the bundle only; without one, the system's authorities."""
        key = hashlib.sha256(bundle.encode()).hexdigest()
        found = self._contexts.get(key)
        if found is None:
            if len(self._contexts) >= _MAX_CONTEXTS:
                self._contexts.clear()
            if bundle:
                found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                try:
                    found.load_verify_locations(cadata=base64.b64decode(bundle).decode())
                except (ValueError, ssl.SSLError) as error:
                    raise WebhookError(
                        "unable to load root certificates: unable to parse bytes as PEM block"
                    ) from error
            else:
                found = ssl.create_default_context()
            self._contexts[key] = found
        return found


def _external(url: str, suffix: str) -> _Target:
    parsed = URL(url)
    if parsed.scheme != "https" or not parsed.host:
        raise WebhookError(f'webhook URL "{url}" is not an https URL')
    port = parsed.port or 443
    return _Target(url + suffix, parsed.authority, port, parsed.host, parsed.raw_path_qs + suffix)


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", error)
    if isinstance(inner, ConnectionRefusedError):
        return "connection refused"
    return getattr(inner, "strerror", None) or str(inner)


def _certificate_problem(error: aiohttp.ClientConnectorCertificateError) -> str:
    inner = error.certificate_error
    text = getattr(inner, "verify_message", "") or str(inner)
    if "self-signed" in text or "unable to get local issuer" in text:
        return "x509: certificate signed by unknown authority"
    return f"x509: {text}"


def _decode(content: bytes, status: int) -> Object:
    if not 200 <= status < 300:
        raise WebhookError(
            f"an error on the server ({content.decode(errors='replace').strip()!r}) has "
            "prevented the request from succeeding".replace("'", '"')
        )
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise WebhookError(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(value, dict):
        raise WebhookError("expected a review object")
    return value
