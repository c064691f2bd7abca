"""Probes: is the container well?

Contract: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import aiohttp

from streamops_sandbox.objects import Object

_QUICK_SECONDS = 0.1
_BODY_LIMIT = 10 * 1024


class ProbeFailed(Exception):
    """The container said it is not well, or did not answer; the message is the kubelet's."""


class Prober:
    """Carries out the checks of one container's probes."""

    def __init__(
        self, session: aiohttp.ClientSession, pod_ip: str, ports: Sequence[Object]
    ) -> None:
        self._session = session
        self._pod_ip = pod_ip
        self._ports = {port["name"]: port["containerPort"] for port in ports if port.get("name")}

    async def check(self, probe: Object, seconds: float) -> None:
        """Carry out a probe once; raises ProbeFailed."""
        if http := probe.get("httpGet"):
            await self._http(http, seconds)
        elif tcp := probe.get("tcpSocket"):
            await self._tcp(tcp.get("host") or self._pod_ip, self._port(tcp["port"]), seconds)
        elif grpc := probe.get("grpc"):
            await self._grpc(grpc["port"], grpc.get("service") or "", seconds)

    async def _http(self, http: Object, seconds: float) -> None:
        scheme = (http.get("scheme") or "HTTP").lower()
        host = http.get("host") or self._pod_ip
        path = "/" + (http.get("path") or "").lstrip("/")
        url = f"{scheme}://{host}:{self._port(http['port'])}{path}"
        headers = {"User-Agent": "kube-probe/sandbox", "Accept": "*/*", "Connection": "close"}
        headers |= {entry["name"]: entry["value"] for entry in http.get("httpHeaders") or []}
        try:
            async with self._session.get(
                url,
                headers=headers,
                ssl=False,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=seconds),
            ) as response:
                await response.content.read(_BODY_LIMIT)
                status = response.status
        except TimeoutError:
            raise ProbeFailed(f'Get "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise ProbeFailed(f'Get "{url}": {_reason(error)}') from None
        if not 200 <= status < 400:
            raise ProbeFailed(f"HTTP probe failed with statuscode: {status}")

    async def _tcp(self, host: str, port: int, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                _, writer = await asyncio.open_connection(host, port)
        except TimeoutError:
            raise ProbeFailed(f"dial tcp {host}:{port}: i/o timeout") from None
        except OSError as error:
            raise ProbeFailed(f"dial tcp {host}:{port}: {_reason(error)}") from None
        writer.close()

    async def _grpc(self, port: int, service: str, seconds: float) -> None:
        from streamops_sandbox.grpc import health_check  # noqa: PLC0415 - few pods need it

        if not await health_check(self._pod_ip, port, service, timeout=seconds):
            raise ProbeFailed(f"service unhealthy (responded with other than SERVING on {port})")

    def _port(self, port: int | str) -> int:
        if isinstance(port, int):
            return port
        if port.isdigit():
            return int(port)
        if port not in self._ports:
            raise ProbeFailed(f"couldn't find port: {port}")
        number: int = self._ports[port]
        return number


async def follow(
    prober: Prober, probe: Object, *, eager: bool
) -> AsyncIterator[tuple[bool | None, str]]:
    """Probe, beginning after the initial delay.

    Yields True or False where a threshold is reached, else None, with the message of a failure that
    counts. `eager` probes more often than the period until the first success, at growing intervals:
    of these failures one in each period counts.
    """
    period = float(probe.get("periodSeconds") or 10)
    needed = {True: probe.get("successThreshold") or 1, False: probe.get("failureThreshold") or 3}
    loop = asyncio.get_running_loop()
    await asyncio.sleep(probe.get("initialDelaySeconds") or 0)
    last, run = None, 0
    pause = _QUICK_SECONDS if eager else period
    counted = loop.time() if eager else loop.time() - period
    while True:
        started, message = loop.time(), ""
        try:
            await prober.check(probe, float(probe.get("timeoutSeconds") or 1))
        except ProbeFailed as error:
            message = str(error) or "failed"
        success = not message
        if success or started - counted >= period - _QUICK_SECONDS / 2:
            counted = started
            run = run + 1 if success is last else 1
            last = success
            yield (success if run >= needed[success] else None), message
        pause = period if success else min(pause * 2, period)
        await asyncio.sleep(max(0.0, started + pause - loop.time()))


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    text = (getattr(cause, "strerror", None) or str(cause) or type(error).__name__).lower()
    return "connect: connection refused" if "connect call failed" in text else text
