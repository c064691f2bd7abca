"""pods/proxy and services/proxy: plain HTTP into the cluster through the API server.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/
"""

from __future__ import annotations

import ssl
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.endpoints import EndpointError, resolve_service
from streamops_sandbox.kube.rest import Call

Json = dict[str, Any]
_CONNECT_SECONDS = 10.0
#: Belong to one connection, or to the conversation with the API server itself.
_NOT_PASSED = frozenset(
    {
        "authorization", "connection", "content-length", "host", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip


class Proxy:
    """Passes requests on to pods and Services."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def __call__(self, call: Call) -> web.StreamResponse:
        """One request and its answer, streamed."""
        scheme, name, port = _split(call.info.name)
        if call.resource.collection == "pods":
            host, number = _pod(call, name, port)
        else:
            host, number = _service(call, name, port)
        request = call.request
        if request.headers.get("Upgrade"):
            raise errors.not_implemented("connections that change protocol, through a proxy")
        url = f"{scheme}://{host}:{number}{call.info.rest}"
        if request.rel_url.raw_query_string:
            url += f"?{request.rel_url.raw_query_string}"
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                timeout=timeout, trust_env=False, auto_decompress=False
            )
        try:
            async with self._session.request(
                request.method,
                URL(url, encoded=True),
                data=await request.read(),
                headers=_passed(request.headers),
                allow_redirects=False,
                ssl=_unverified() if scheme == "https" else True,
            ) as answer:
                response = web.StreamResponse(
                    status=answer.status, reason=answer.reason, headers=_passed(answer.headers)
                )
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientError as error:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError from error
            raise errors.unavailable(f"error trying to reach service: {_reason(error)}") from error


def _reason(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        why = (
            "connection refused"
            if isinstance(error.os_error, ConnectionRefusedError)
            else (error.os_error.strerror or str(error.os_error))
        )
        return f"dial tcp {error.host}:{error.port}: connect: {why}"
    return str(error) or "EOF"


def _unverified() -> ssl.SSLContext:
    """As the API server's own proxy transport, which does not verify either."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _split(name: str) -> tuple[str, str, str]:
    """`[SCHEME:]NAME[:PORT]`."""
    parts = name.split(":")
    if len(parts) == 1:
        return "http", parts[0], ""
    if len(parts) == 2:
        return "http", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0] or "http", parts[1], parts[2]
    raise errors.bad_request(f'invalid proxy target "{name}"')


def _pod(call: Call, name: str, port: str) -> tuple[str, int]:
    pod = call.server.api.require(call.resource, call.info.namespace, name).load()
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise errors.bad_request(f"address not allowed: pod {name} has no IP yet")
    declared = [
        item for container in pod["spec"]["containers"] for item in container.get("ports") or []
    ]
    if port.isdigit():
        return address, int(port)
    for item in declared:
        if not port or item.get("name") == port:
            return address, int(item["containerPort"])
    if port:
        raise errors.bad_request(f'pod {name} has no port named "{port}"')
    return address, 80


def _service(call: Call, name: str, port: str) -> tuple[str, int]:
    try:
        return resolve_service(call.server.api, call.info.namespace, name, port)
    except EndpointError as error:
        text = str(error)
        if text.endswith("not found"):
            raise errors.not_found("", "services", name) from error
        raise errors.unavailable(text) from error


def _passed(headers: Any) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_PASSED}
