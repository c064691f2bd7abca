"""The kubelet's HTTPS port: container logs, for the API server only.

Contract: `GET /containerLogs/NAMESPACE/POD/CONTAINER` with the parameters of PodLogOptions. Callers
have to present a client certificate of the cluster's certificate authority.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from aiohttp import web

from streamops_sandbox.kube.tls import Authority
from streamops_sandbox.node import logs
from streamops_sandbox.node.pod import Pod

#: Finds a pod of the node by namespace and name.
FindPod = Callable[[str, str], Pod | None]


class KubeletServer:
    """Serves what `kubectl logs` asks for."""

    def __init__(self, name: str, pod: FindPod, authority: Authority) -> None:
        self._name = name
        self._pod = pod
        self._authority = authority
        app = web.Application()
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)

    async def start(self, host: str) -> int:
        """Listen on a free port of `host`, which is returned."""
        context = await asyncio.to_thread(
            self._authority.server_context,
            f"system:node:{self._name}",
            [self._name, host],
            ssl.CERT_REQUIRED,
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, 0, ssl_context=context)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        pod = self._pod(namespace, name)
        container = pod.container(request.match_info["container"]) if pod else None
        if container is None:
            raise web.HTTPNotFound(text=f'pod "{name}" has no such container here')
        options = request.query
        previous = _flag(options.get("previous"))
        path = container.log_path(previous=previous)
        if not path.exists():
            text = f'container "{container.name}" in pod "{name}"'
            if previous:
                raise web.HTTPBadRequest(text=f"previous terminated {text} not found")
            waiting = container.state.get("waiting", {}).get("reason", "ContainerCreating")
            raise web.HTTPBadRequest(text=f"{text} is waiting to start: {waiting}")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        chunks = logs.read(
            path,
            None if previous else container.log,
            follow=_flag(options.get("follow")) and not previous,
            tail=int(options["tailLines"]) if "tailLines" in options else None,
            since=_since(options.get("sinceSeconds"), options.get("sinceTime")),
            timestamps=_flag(options.get("timestamps")),
            limit_bytes=int(options["limitBytes"]) if "limitBytes" in options else None,
        )
        with contextlib.suppress(ConnectionError):
            async for chunk in chunks:
                await response.write(chunk)
            await response.write_eof()
        return response


def _flag(value: str | None) -> bool:
    return value in ("true", "1", "t", "True")


def _since(seconds: str | None, time: str | None) -> str | None:
    if seconds is not None:
        moment = datetime.now(UTC) - timedelta(seconds=int(seconds))
    elif time is not None:
        moment = datetime.fromisoformat(time).astimezone(UTC)
    else:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}000Z"
