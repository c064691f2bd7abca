"""The node's forward proxy: how process containers reach names of the cluster.

Containers get its address as `HTTP_PROXY`. It takes absolute-form requests and CONNECT (RFC 9112,
section 3.2), sends names of Services to their endpoints and everything else where it belongs. A
connection carries one request: only the heads of request and answer are read, and tell both sides
to close it afterwards. The `Host` header stays as the client wrote it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

from streamops_sandbox.node import tcp
from streamops_sandbox.node.routing import Address

_HEAD_LIMIT = 64 * 1024
_IDLE_SECONDS = 300.0
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-authorization", "proxy-connection"}


class ProxyError(Exception):
    """The request cannot be passed on; `status` is the answer the client gets."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status

    def answer(self) -> bytes:
        """Return the answer to send."""
        body = f"{self}\n"
        head = f"HTTP/1.1 {self.status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
        return f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode()


class ForwardProxy:
    """Serves proxied requests; `resolve` is the cluster's router."""

    def __init__(self, resolve: Callable[[str, int], Address | None]) -> None:
        self._resolve = resolve
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> str:
        """Listen on a free port of `host`; returns the proxy's URL."""
        self._server = await asyncio.start_server(self._serve, host, 0, limit=_HEAD_LIMIT)
        return f"http://{host}:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._pass_on(head.decode("latin-1"), reader, writer)
        except ProxyError as error:
            writer.write(error.answer())
        except asyncio.LimitOverrunError:
            text = "headers too large"
            writer.write(ProxyError("431 Request Header Fields Too Large", text).answer())
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # one side broke off; there is nobody left to tell
        finally:
            await tcp.close(writer)

    async def _pass_on(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line, *headers = head.strip("\r\n").split("\r\n")
        try:
            method, target, version = line.split(" ")
            url = urlsplit(f"//{target}" if method == "CONNECT" else target)
            host, port = url.hostname, url.port or 80
        except ValueError:
            raise ProxyError("400 Bad Request", "malformed request line") from None
        if not host or url.scheme not in ("", "http"):
            raise ProxyError("400 Bad Request", "this is a proxy: an absolute http URL is needed")
        far_reader, far_writer = await self._connect(host, port)
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await tcp.carry(reader, writer, far_reader, far_writer)
                return
            path = (url.path or "/") + (f"?{url.query}" if url.query else "")
            names = [header.partition(":")[0].lower() for header in headers]
            if "host" not in names:
                headers.append(f"Host: {url.netloc}")
            connection = "Upgrade" if "upgrade" in names else "close"
            far_writer.write(_head(f"{method} {path} {version}", headers, connection))
            await _exchange(reader, writer, far_reader, far_writer)
        finally:
            await tcp.close(far_writer)

    async def _connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        address = self._resolve(host, port)
        if address is None:
            text = f"no ready endpoint for {host}:{port} in the cluster"
            raise ProxyError("503 Service Unavailable", text)
        try:
            async with asyncio.timeout(tcp.CONNECT_SECONDS):
                return await asyncio.open_connection(*address)
        except (OSError, TimeoutError) as error:
            raise ProxyError("502 Bad Gateway", f"{address[0]}:{address[1]}: {error}") from None


async def _exchange(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Carry what follows a request's head, and the answer."""
    sending = asyncio.create_task(tcp.pump(reader, far_writer))
    try:
        while True:
            head = await far_reader.readuntil(b"\r\n\r\n")
            line, *headers = head.decode("latin-1").strip("\r\n").split("\r\n")
            status = line.split(" ")[1]
            if not status.startswith("1") or status == "101":
                break
            writer.write(head)  # 100 Continue and the like
        writer.write(_head(line, headers, "Upgrade" if status == "101" else "close"))
        await tcp.pump(far_reader, writer)
    except (asyncio.IncompleteReadError, IndexError):
        raise ProxyError("502 Bad Gateway", "the target closed the connection") from None
    finally:
        sending.cancel()


def _head(line: str, headers: list[str], connection: str) -> bytes:
    """Return the head of a message without the sender's headers about its own connection."""
    kept = [one for one in headers if one.partition(":")[0].lower() not in _HOP_BY_HOP]
    return "\r\n".join([line, *kept, f"Connection: {connection}", "", ""]).encode("latin-1")
