"""Calling webhooks: finding their address, trusting their certificate, saying what failed.

Messages follow k8s.io/apiserver/pkg/util/webhook and Go's net/http, since clients match them.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from functools import lru_cache

import aiohttp
import orjson
from yarl import URL

from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.endpoints import EndpointError, dial_problem, resolve_service
from streamops_sandbox.objects import Object


class WebhookError(Exception):
    """A webhook could not be asked, or did not answer as it has to."""


async def post(
    api: Api, session: aiohttp.ClientSession, client: Object, body: Object, seconds: float
) -> Object:
    """POST a review to a webhook's `clientConfig`; raises WebhookError."""
    service, shown = client.get("service"), client.get("url", "")
    if service is not None:
        path = (service.get("path") or "").lstrip("/")
        host = f"{service['name']}.{service['namespace']}.svc"
        shown = f"https://{host}:{service['port']}/{path}"
    shown += f"?timeout={seconds:g}s"
    url = URL(shown, encoded=True)
    host = url.host or ""
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, */*", "Host": host,
        "User-Agent": "kube-apiserver-admission",
    }  # fmt: skip

    async def send() -> tuple[int, bytes]:
        async with session.post(
            url, data=orjson.dumps(body), headers=headers, ssl=context, server_hostname=host
        ) as response:
            return response.status, await response.read()

    try:
        if service is not None:
            place = (service["namespace"], service["name"], service["port"])
            address, number = resolve_service(api, *place)
            url = url.with_host(address).with_port(number)
        context = _context(client.get("caBundle") or "")
        async with asyncio.timeout(seconds):
            try:
                status, content = await send()
            except (aiohttp.ServerDisconnectedError, ConnectionResetError):
                # A kept connection that the webhook has closed meanwhile: once more.
                status, content = await send()
    except (EndpointError, TimeoutError, aiohttp.ClientError, OSError) as error:
        raise WebhookError(f'Post "{shown}": {_problem(error)}') from error
    return _decode(content, status)


@lru_cache(maxsize=64)
def _context(bundle: str) -> ssl.SSLContext:
    """Return TLS that trusts the bundle only; without one, the system's authorities."""
    if not bundle:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=base64.b64decode(bundle).decode())
    except (ValueError, ssl.SSLError) as error:
        text = "unable to load root certificates: unable to parse bytes as PEM block"
        raise WebhookError(text) from error
    return context


def _problem(error: BaseException) -> str:
    if isinstance(error, EndpointError):
        return str(error)
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        text = getattr(inner, "verify_message", "") or str(inner)
        unknown = "self-signed" in text or "unable to get local issuer" in text
        why = "certificate signed by unknown authority" if unknown else text
        return f"tls: failed to verify certificate: x509: {why}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return dial_problem(error)
    return "context deadline exceeded" if isinstance(error, TimeoutError) else "EOF"


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
