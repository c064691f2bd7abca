"""Talking to a node's kubelet, for logs.

https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.authn import MASTERS
from streamops_sandbox.kube.tls import Authority, write_private

Json = dict[str, Any]
_USER = "kube-apiserver-kubelet-client"
_CONNECT_SECONDS = 10.0
_DEFAULT_PORT = 10250
_CHUNK = 64 * 1024


class Kubelet:
    """HTTPS to kubelets, with a client certificate of the cluster's authority."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._session: aiohttp.ClientSession | None = None
        self._context: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _trust(self) -> ssl.SSLContext:
        if self._context is None:
            cert, key = self._authority.issue(_USER, organization=MASTERS)
            cert_file = self._folder / "apiserver-kubelet-client.crt"
            key_file = self._folder / "apiserver-kubelet-client.key"
            cert_file.write_bytes(cert)
            write_private(key_file, key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self._authority.cert_file)
            context.load_cert_chain(cert_file, key_file)
            self._context = context
        return self._context

    async def stream(
        self,
        request: web.BaseRequest,
        api: Api,
        node: str,
        path: str,
        query: Mapping[str, str],
    ) -> web.StreamResponse:
        """Pass a kubelet's answer on as it comes; its errors become a Status."""
        address, port = _address(api, node)
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(timeout=timeout, trust_env=False)
        url = f"https://{address}:{port}{path}"
        try:
            async with self._session.get(url, params=dict(query), ssl=self._trust()) as answer:
                if answer.status != 200:
                    raise _kubelet_error(answer.status, (await answer.text()).strip(), url)
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientConnectionError as error:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError from error
            raise errors.StatusError(
                500, "", f'Get "{url}": dial tcp {address}:{port}: {error}'
            ) from error


def _address(api: Api, name: str) -> tuple[str, int]:
    stored = api.get("nodes", "", name)
    if stored is None:
        raise errors.not_found("", "nodes", name)
    status = stored.load().get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    addresses = {item["type"]: item["address"] for item in status.get("addresses") or []}
    for kind in ("InternalIP", "Hostname"):
        if kind in addresses:
            return addresses[kind], int(port or _DEFAULT_PORT)
    raise errors.internal(f"no preferred addresses found; known addresses: {addresses}")


def _kubelet_error(status: int, text: str, url: str) -> errors.StatusError:
    if status == 400:
        return errors.bad_request(text)
    if status == 404:
        return errors.StatusError(
            404,
            "NotFound",
            f"the server could not find the requested resource ( {text or url})",
            details={},
        )
    return errors.StatusError(500, "InternalError", f"an error on the server ({text!r}) has "
                              "prevented the request from succeeding")  # fmt: skip
