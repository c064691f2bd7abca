"""Passing answers on from inside the cluster: pods and Services by proxy, logs from a node's kubelet.

https://kubernetes.io/docs/tasks/access-application-cluster/access-cluster-services/ and
https://kubernetes.io/docs/concepts/architecture/control-plane-node-communication/
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
from aiohttp import web
from yarl import URL

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.endpoints import EndpointError, dial_problem, resolve_service
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.objects import Object

_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10.0)
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


async def proxy(call: Call) -> web.StreamResponse:
    """Answer pods/proxy and services/proxy, of `[SCHEME:]NAME[:PORT]`."""
    request, parts = call.request, call.info.name.split(":")
    scheme = parts.pop(0) if len(parts) > 2 else "http"
    find = _pod if call.resource.collection == "pods" else _service
    host, number = find(call, parts[0], parts[1] if len(parts) > 1 else "")
    if request.headers.get("Upgrade"):
        raise errors.not_implemented("connections that change protocol, through a proxy")
    url = f"{scheme or 'http'}://{host}:{number}{call.info.rest}"
    if request.rel_url.raw_query_string:
        url += f"?{request.rel_url.raw_query_string}"
    try:
        async with call.server.session.request(
            request.method,
            URL(url, encoded=True),
            data=await request.read(),
            headers=_passed(request.headers),
            allow_redirects=False,
            auto_decompress=False,
            timeout=_TIMEOUT,
            ssl=False,  # as the API server's own proxy transport, which does not verify either
        ) as answer:
            response = web.StreamResponse(
                status=answer.status, reason=answer.reason, headers=_passed(answer.headers)
            )
            return await _stream(request, response, answer)
    except aiohttp.ClientError as error:
        _check_client(request, error)
        why = f"error trying to reach service: {dial_problem(error)}"
        raise errors.unavailable(why) from error


async def logs(call: Call) -> web.StreamResponse:
    """Answer pods/log with what the node's kubelet has; its errors become a Status."""
    namespace, name = call.info.namespace, call.info.name
    pod = call.server.api.require(call.resource, namespace, name).load()
    container = _container(pod, call.query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return web.Response(text="")
    host, port = _kubelet_address(call.server.api, pod["spec"]["nodeName"])
    url = f"https://{host}:{port}/containerLogs/{namespace}/{name}/{container}"
    options = {key: call.query[key] for key in _LOG_OPTIONS if call.query.get(key)}
    trust: ssl.SSLContext = call.server.kubelet_trust()
    try:
        async with call.server.session.get(
            url, params=options, ssl=trust, timeout=_TIMEOUT
        ) as answer:
            if answer.status != 200:
                raise _kubelet_error(answer.status, (await answer.text()).strip(), url)
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            response.enable_chunked_encoding()
            return await _stream(call.request, response, answer)
    except aiohttp.ClientConnectionError as error:
        _check_client(call.request, error)
        text = f'Get "{url}": dial tcp {host}:{port}: {error}'
        raise errors.StatusError(500, "", text) from error


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


def _pod(call: Call, name: str, port: str) -> tuple[str, int]:
    pod = call.server.api.require(call.resource, call.info.namespace, name).load()
    address = (pod.get("status") or {}).get("podIP")
    if not address:
        raise errors.bad_request(f"address not allowed: pod {name} has no IP yet")
    if port.isdigit():
        return address, int(port)
    for container in pod["spec"]["containers"]:
        for item in container.get("ports") or []:
            if port in ("", item.get("name")):
                return address, int(item["containerPort"])
    if port:
        raise errors.bad_request(f'pod {name} has no port named "{port}"')
    return address, 80


def _service(call: Call, name: str, port: str) -> tuple[str, int]:
    call.server.api.require(call.resource, call.info.namespace, name)
    try:
        return resolve_service(call.server.api, call.info.namespace, name, port)
    except EndpointError as error:
        raise errors.unavailable(str(error)) from error


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key.lower() not in _NOT_PASSED}


def _kubelet_address(api: Api, name: str) -> tuple[str, int]:
    stored = api.get("nodes", "", name)
    if stored is None:
        raise errors.not_found("", "nodes", name)
    status = stored.load().get("status") or {}
    addresses = {item["type"]: item["address"] for item in status.get("addresses") or []}
    if "InternalIP" not in addresses:
        raise errors.internal(f"no preferred addresses found; known addresses: {addresses}")
    return addresses["InternalIP"], status["daemonEndpoints"]["kubeletEndpoint"]["Port"]


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
    main = [item["name"] for item in spec["containers"]]
    init = [item["name"] for item in spec.get("initContainers") or []]
    if wanted and wanted not in (*main, *init):
        raise errors.bad_request(f"container {wanted} is not valid for pod {name}")
    if wanted or len(main) == 1:
        return wanted or str(main[0])
    text = f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]"
    if init:
        text += f" or one of the init containers: [{' '.join(init)}]"
    raise errors.bad_request(text)
