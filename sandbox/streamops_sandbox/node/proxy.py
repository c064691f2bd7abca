"""The node's forward proxy: how process containers reach names of the cluster.

Containers get its address as `HTTP_PROXY`. It takes absolute-form requests and CONNECT (RFC 9112,
section 3.2), sends names of Services to their endpoints and everything else where it belongs.
Bodies are passed on as they come, the `Host` header as the client wrote it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from streamops_sandbox.node import tcp
from streamops_sandbox.node.routing import Address

_HEAD_LIMIT = 64 * 1024
_IDLE_SECONDS = 300.0
_HOP_BY_HOP = {b"proxy-connection", b"proxy-authorization", b"keep-alive", b"connection"}
_NO_BODY = {204, 304}

Headers = list[tuple[bytes, bytes]]


class ProxyError(Exception):
    """The request cannot be passed on; `status` is the answer the client gets."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Head:
    """A request's or an answer's first line and headers."""

    line: bytes
    headers: Headers

    def get(self, name: bytes) -> bytes:
        """Return a header's (last) value, or b""."""
        return next((value for key, value in reversed(self.headers) if key.lower() == name), b"")

    def keeps_alive(self) -> bool:
        """Whether the sender goes on with this connection."""
        tokens = (self.get(b"connection") + b"," + self.get(b"proxy-connection")).lower()
        if b"HTTP/1.0" in self.line:
            return b"keep-alive" in tokens
        return b"close" not in tokens

    def encode(self, *, connection: bytes) -> bytes:
        """Write it without hop-by-hop headers but `connection`."""
        upgrade = self.get(b"upgrade")
        kept = [(key, value) for key, value in self.headers if key.lower() not in _HOP_BY_HOP]
        kept.append((b"Connection", b"Upgrade" if upgrade else connection))
        lines = [self.line, *(key + b": " + value for key, value in kept)]
        return b"\r\n".join(lines) + b"\r\n\r\n"


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
        session = _Session(reader, writer, self._resolve)
        try:
            while await session.serve_one():
                pass
        except ProxyError as error:
            session.refuse(error)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError):
            pass  # one side broke off; there is nobody left to tell
        finally:
            await session.close()
            await tcp.close(writer)


class _Session:
    """One client's connection, with the connection to the target it used last."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        resolve: Callable[[str, int], Address | None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._resolve = resolve
        self._target: Address | None = None
        self._far: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def serve_one(self) -> bool:
        """Serve one request; True where another one may follow."""
        async with asyncio.timeout(_IDLE_SECONDS):
            request = await _read_head(self._reader)
        if request is None:
            return False
        method, target, _ = _request_line(request.line)
        if method == b"CONNECT":
            await self._tunnel(target.decode("ascii"))
            return False
        host, port, origin_form = _absolute_form(target)
        request.line = b" ".join([method, origin_form, b"HTTP/1.1"])
        if not request.get(b"host"):
            request.headers.append((b"Host", f"{host}:{port}".encode()))
        return await self._exchange(request, method, self._address(host, port))

    def refuse(self, error: ProxyError) -> None:
        """Answer with an error of the proxy itself."""
        body = f"{error}\n".encode()
        head = (
            f"HTTP/1.1 {error.status}\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._writer.write(head.encode() + body)

    async def close(self) -> None:
        """Close the connection to the target."""
        if self._far is not None:
            await tcp.close(self._far[1])
            self._far = None

    async def _tunnel(self, authority: str) -> None:
        host, _, port = authority.rpartition(":")
        address = self._address(host.strip("[]"), int(port))
        try:
            async with asyncio.timeout(tcp.CONNECT_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError) as error:
            raise ProxyError("502 Bad Gateway", f"{authority}: {error}") from None
        self._far = (far_reader, far_writer)
        self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await tcp.carry(self._reader, self._writer, far_reader, far_writer)

    async def _exchange(self, request: Head, method: bytes, address: Address) -> bool:
        far_reader, far_writer = await self._connect(address)
        far_writer.write(request.encode(connection=b"keep-alive"))
        sending = asyncio.create_task(_copy_body(request, self._reader, far_writer))
        try:
            answer = await self._read_answer(far_reader)
            if answer.line.split(b" ", 2)[1] == b"101":
                sending.cancel()
                self._writer.write(answer.encode(connection=b"Upgrade"))
                await tcp.carry(self._reader, self._writer, far_reader, far_writer)
                return False
            status = int(answer.line.split(b" ", 2)[1])
            until_close = _until_close(answer, status, method)
            again = request.keeps_alive() and not until_close
            connection = b"keep-alive" if again else b"close"
            self._writer.write(answer.encode(connection=connection))
            if until_close:
                await _copy_rest(far_reader, self._writer)
            elif method != b"HEAD" and status not in _NO_BODY:
                await _copy_body(answer, far_reader, self._writer)
            await self._writer.drain()
            # An answer before the end of the request's body leaves the connections in between.
            again = again and sending.done()
            if not answer.keeps_alive() or until_close or not sending.done():
                await self.close()
            return again
        finally:
            sending.cancel()

    async def _read_answer(self, reader: asyncio.StreamReader) -> Head:
        while True:
            answer = await _read_head(reader)
            if answer is None:
                raise ProxyError("502 Bad Gateway", "the target closed the connection")
            status = answer.line.split(b" ", 2)[1]
            if status.startswith(b"1") and status != b"101":
                self._writer.write(answer.encode(connection=b"keep-alive"))  # 100 Continue
                continue
            return answer

    async def _connect(self, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._far is not None:
            reader, writer = self._far
            if self._target == address and not reader.at_eof() and not writer.is_closing():
                return self._far
            await self.close()
        try:
            async with asyncio.timeout(tcp.CONNECT_SECONDS):
                self._far = await asyncio.open_connection(*address, limit=_HEAD_LIMIT)
        except (OSError, TimeoutError) as error:
            raise ProxyError("502 Bad Gateway", f"{address[0]}:{address[1]}: {error}") from None
        self._target = address
        return self._far

    def _address(self, host: str, port: int) -> Address:
        address = self._resolve(host, port)
        if address is None:
            text = f"no ready endpoint for {host}:{port} in the cluster"
            raise ProxyError("503 Service Unavailable", text)
        return address


async def _read_head(reader: asyncio.StreamReader) -> Head | None:
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial.strip():
            return None
        raise
    except asyncio.LimitOverrunError:
        raise ProxyError("431 Request Header Fields Too Large", "headers too large") from None
    line, *rest = data[:-4].lstrip(b"\r\n").split(b"\r\n")
    headers = []
    for entry in rest:
        name, colon, value = entry.partition(b":")
        if not colon or not name or name != name.strip():
            raise ProxyError("400 Bad Request", "malformed header")
        headers.append((name, value.strip()))
    return Head(line, headers)


def _request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    parts = line.split(b" ")
    if len(parts) != 3:
        raise ProxyError("400 Bad Request", "malformed request line")
    return parts[0], parts[1], parts[2]


def _absolute_form(target: bytes) -> tuple[str, int, bytes]:
    try:
        url = urlsplit(target.decode("ascii"))
        port = url.port or 80
    except ValueError:
        raise ProxyError("400 Bad Request", "malformed target") from None
    if url.scheme != "http" or not url.hostname:
        raise ProxyError("400 Bad Request", "this is a proxy: an absolute http URL is needed")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    return url.hostname, port, path.encode()


def _until_close(answer: Head, status: int, method: bytes) -> bool:
    """Whether only the end of the connection ends the answer's body."""
    if method == b"HEAD" or status in _NO_BODY:
        return False
    chunked = b"chunked" in answer.get(b"transfer-encoding").lower()
    return not chunked and not answer.get(b"content-length")


async def _copy_body(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if b"chunked" in head.get(b"transfer-encoding").lower():
        await _copy_chunks(reader, writer)
    elif length := head.get(b"content-length"):
        await _copy_exactly(int(length), reader, writer)
    await writer.drain()


async def _copy_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line = await reader.readuntil(b"\r\n")
        writer.write(line)
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        await _copy_exactly(size + 2, reader, writer)
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":  # trailers
        writer.write(line)
    writer.write(line)


async def _copy_exactly(
    count: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while count > 0:
        data = await reader.read(min(count, _HEAD_LIMIT))
        if not data:
            raise asyncio.IncompleteReadError(b"", count)
        count -= len(data)
        writer.write(data)
        await writer.drain()


async def _copy_rest(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_HEAD_LIMIT):
            writer.write(data)
            await writer.drain()
