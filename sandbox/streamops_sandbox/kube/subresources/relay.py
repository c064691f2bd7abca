"""Passing answers on from inside the cluster: pods and Services by proxy, logs from a node's kubelet.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/ and
https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.authn import MASTERS
from streamops_sandbox.kube.endpoints import EndpointError, resolve_service
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.kube.tls import Authority, write_private
from streamops_sandbox.objects import Object

_USER = "kube-apiserver-kubelet-client"
_CONNECT_SECONDS = 10.0
_DEFAULT_PORT = 10250
_LOG_OPTIONS = (
    "follow", "limitBytes", "previous", "sinceSeconds", "sinceTime", "stream", "tailLines",
    "timestamps",
)  # fmt: skip
#: Belong to one connection, or to the conversation with the API server itself.
_NOT_PASSED = frozenset(
    {
        "authorization", "connection", "content-length", "host", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
        "upgrade",
    }
)  # fmt: skip


class Relay:
    """The connections of one server into its cluster."""

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._authority = authority
        self._folder = folder
        self._session: aiohttp.ClientSession | None = None
        self._kubelet_trust: ssl.SSLContext | None = None

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def _sessions(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                timeout=timeout, trust_env=False, auto_decompress=False
            )
        return self._session

    async def proxy(self, call: Call) -> web.StreamResponse:
        """Answer pods/proxy and services/proxy."""
        scheme, name, port = _split(call.info.name)
        find = _pod if call.resource.collection == "pods" else _service
        host, number = find(call, name, port)
        request = call.request
        if request.headers.get("Upgrade"):
            raise errors.not_implemented("connections that change protocol, through a proxy")
        url = f"{scheme}://{host}:{number}{call.info.rest}"
        if request.rel_url.raw_query_string:
            url += f"?{request.rel_url.raw_query_string}"
        try:
            async with self._sessions().request(
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
                return await _stream(request, response, answer)
        except aiohttp.ClientError as error:
            _check_client(request, error)
            raise errors.unavailable(f"error trying to reach service: {_reason(error)}") from error

    async def logs(self, call: Call) -> web.StreamResponse:
        """Answer pods/log with what the node's kubelet has; its errors become a Status."""
        if call.info.verb != "get":
            raise errors.method_not_allowed()
        namespace, name = call.info.namespace, call.info.name
        pod = call.server.api.require(call.resource, namespace, name).load()
        container = _container(pod, call.query.get("container", ""))
        if not pod["spec"].get("nodeName"):
            return web.Response(text="")
        host, port = _kubelet_address(call.server.api, pod["spec"]["nodeName"])
        url = f"https://{host}:{port}/containerLogs/{namespace}/{name}/{container}"
        options = {key: call.query[key] for key in _LOG_OPTIONS if call.query.get(key)}
        trust = self._trust_kubelets()
        try:
            async with self._sessions().get(url, params=options, ssl=trust) as answer:
                if answer.status != 200:
                    raise _kubelet_error(answer.status, (await answer.text()).strip(), url)
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                response.enable_chunked_encoding()
                return await _stream(call.request, response, answer)
        except aiohttp.ClientConnectionError as error:
            _check_client(call.request, error)
            text = f'Get "{url}": dial tcp {host}:{port}: {error}'
            raise errors.StatusError(500, "", text) from error

    def _trust_kubelets(self) -> ssl.SSLContext:
        if self._kubelet_trust is None:
            cert, key = self._authority.issue(_USER, organization=MASTERS)
            cert_file = self._folder / "apiserver-kubelet-client.crt"
            key_file = self._folder / "apiserver-kubelet-client.key"
            cert_file.write_bytes(cert)
            write_private(key_file, key)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(self._authority.cert_file)
            context.load_cert_chain(cert_file, key_file)
            self._kubelet_trust = context
        return self._kubelet_trust


async def _stream(
    request: web.BaseRequest, response: web.StreamResponse, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    await response.prepare(request)
    async for chunk in answer.content.iter_any():
        await response.write(chunk)
    await response.write_eof()
    return response


def _check_client(request: web.BaseRequest, error: Exception) -> None:
    """Raise ConnectionResetError where it is the client that has gone."""
    if request.transport is None or request.transport.is_closing():
        raise ConnectionResetError from error


def _reason(error: aiohttp.ClientError) -> str:
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error) or "EOF"
    refused = isinstance(error.os_error, ConnectionRefusedError)
    why = "connection refused" if refused else error.os_error.strerror or str(error.os_error)
    return f"dial tcp {error.host}:{error.port}: connect: {why}"


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
    if port.isdigit():
        return address, int(port)
    for container in pod["spec"]["containers"]:
        for item in container.get("ports") or []:
            if not port or item.get("name") == port:
                return address, int(item["containerPort"])
    if port:
        raise errors.bad_request(f'pod {name} has no port named "{port}"')
    return address, 80


def _service(call: Call, name: str, port: str) -> tuple[str, int]:
    try:
        return resolve_service(call.server.api, call.info.namespace, name, port)
    except EndpointError as error:
        if str(error).endswith("not found"):
            raise errors.not_found("", "services", name) from error
        raise errors.unavailable(str(error)) from error


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_PASSED}


def _kubelet_address(api: Api, name: str) -> tuple[str, int]:
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
        message = f"the server could not find the requested resource ( {text or url})"
        return errors.StatusError(404, "NotFound", message)
    message = f"an error on the server ({text!r}) has prevented the request from succeeding"
    return errors.StatusError(500, "InternalError", message)


def _container(pod: Object, wanted: str) -> str:
    spec, name = pod["spec"], pod["metadata"]["name"]
    main = [item["name"] for item in spec.get("containers") or []]
    init = [item["name"] for item in spec.get("initContainers") or []]
    if wanted and wanted not in (*main, *init):
        raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
    if wanted or len(main) == 1:
        return wanted or str(main[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(text)
