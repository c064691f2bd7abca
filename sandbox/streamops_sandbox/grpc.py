"""Just enough gRPC over cleartext HTTP/2 for health probes and one server stream.

Wire format: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md; health service:
grpc/doc/health-checking.md. Messages are bytes; unary calls and server streams only. (grpcio would
cost 20 MiB of memory and a thread in every cluster process.)
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError

#: A method: takes the one request message, yields the response messages.
Method = Callable[[bytes], AsyncIterator[bytes]]

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # HealthCheckResponse{status: SERVING}
OK, UNKNOWN, UNIMPLEMENTED = 0, 2, 12


class GrpcError(Exception):
    """A call that failed: no connection, or a status other than OK."""


async def health(_request: bytes) -> AsyncIterator[bytes]:
    """Answer `grpc.health.v1.Health/Check`: serving."""
    yield _SERVING


class Server:
    """Listens for gRPC calls; `methods` maps `/package.Service/Method` to its implementation."""

    def __init__(self, methods: dict[str, Method]) -> None:
        self._methods = methods
        self._connections: set[_Incoming] = set()
        self._listener: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin; returns the port (0 asks for any)."""
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Incoming(self._methods, self._connections), host, port
        )
        listening: int = self._listener.sockets[0].getsockname()[1]
        return listening

    def close(self) -> None:
        """Stop, and break off the calls: who streams has to find out that nothing more comes."""
        if self._listener is not None:
            self._listener.close()
        for connection in list(self._connections):
            connection.close()


async def health_check(
    host: str,
    port: int,
    service: str = "",
    *,
    timeout: float = 1.0,  # noqa: ASYNC109 - the one place that waits
) -> bool:
    """Ask a server for its health, as a kubelet's grpc probe does; seconds to wait in `timeout`."""
    request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
    try:
        async with asyncio.timeout(timeout):
            async with contextlib.aclosing(call(host, port, HEALTH_CHECK, request)) as replies:
                async for reply in replies:
                    return reply == _SERVING
    except (GrpcError, OSError, TimeoutError):
        pass
    return False


async def call(host: str, port: int, path: str, request: bytes) -> AsyncGenerator[bytes]:
    """Make one call and yield its response messages; closing the iterator ends the call.

    Raises:
        GrpcError: when the connection breaks or the status is not OK.
        OSError: when nothing listens there.
    """
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(
        lambda: _Client(path, f"{host}:{port}", request), host, port
    )
    try:
        while (message := await client.messages.get()) is not None:
            yield message
        if client.error:
            raise GrpcError(client.error)
    finally:
        client.close()


def _headers(event: RequestReceived | ResponseReceived | TrailersReceived) -> dict[str, str]:
    # Decoded already (header_encoding above), which the library's types do not know.
    return {str(name): str(value) for name, value in event.headers or []}


class _Messages:
    """Cuts a stream of DATA into length-prefixed messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        found = []
        while len(self._buffer) >= 5:
            _compressed, length = struct.unpack(">BI", self._buffer[:5])
            if len(self._buffer) < 5 + length:
                break
            found.append(bytes(self._buffer[5 : 5 + length]))
            del self._buffer[: 5 + length]
        return found


class _Connection(asyncio.Protocol):
    """What both ends share: the HTTP/2 state machine on an asyncio transport."""

    def __init__(self, *, client_side: bool) -> None:
        self._h2 = H2Connection(H2Configuration(client_side=client_side, header_encoding="utf-8"))
        self._transport: asyncio.Transport | None = None
        self._window = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._h2.initiate_connection()
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self.close()
            return
        for event in events:
            if isinstance(event, WindowUpdated):
                self._window.set()
            elif isinstance(event, DataReceived):
                assert event.stream_id is not None
                self._h2.acknowledge_received_data(
                    event.flow_controlled_length or 0, event.stream_id
                )
            elif isinstance(event, ConnectionTerminated):
                self.close()
            self._handle(event)
        self._flush()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _handle(self, event: Event) -> None:
        raise NotImplementedError

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    async def _send(self, stream: int, message: bytes) -> None:
        data = struct.pack(">BI", 0, len(message)) + message
        while data:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._window.clear()
                await self._window.wait()
                continue
            self._h2.send_data(stream, data[:room])
            data = data[room:]
            self._flush()


@dataclass
class _Call:
    path: str
    messages: _Messages = field(default_factory=_Messages)
    request: bytes = b""
    task: asyncio.Task[None] | None = None


class _Incoming(_Connection):
    def __init__(self, methods: dict[str, Method], connections: set[_Incoming]) -> None:
        super().__init__(client_side=False)
        self._methods = methods
        self._connections = connections
        self._calls: dict[int, _Call] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        for entry in self._calls.values():
            if entry.task is not None:
                entry.task.cancel()
        self._calls.clear()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._calls[event.stream_id or 0] = _Call(_headers(event)[":path"])
            return
        entry = self._calls.get(getattr(event, "stream_id", None) or 0)
        if entry is None:
            return
        if isinstance(event, DataReceived):
            for message in entry.messages.feed(event.data or b""):
                entry.request = message
        elif isinstance(event, StreamEnded):
            entry.task = asyncio.create_task(self._answer(event.stream_id or 0, entry))
        elif isinstance(event, StreamReset):
            self._calls.pop(event.stream_id or 0)
            if entry.task is not None:
                entry.task.cancel()

    async def _answer(self, stream: int, entry: _Call) -> None:
        self._h2.send_headers(
            stream, [(":status", "200"), ("content-type", "application/grpc+json")]
        )
        self._flush()
        status, message = OK, ""
        method = self._methods.get(entry.path)
        if method is None:
            status, message = UNIMPLEMENTED, f"unknown method {entry.path}"
        else:
            try:
                async for reply in method(entry.request):
                    await self._send(stream, reply)
            except ProtocolError:  # the peer has gone
                return
            except Exception as error:
                status, message = UNKNOWN, str(error)
        trailers = [("grpc-status", str(status)), ("grpc-message", message)]
        with contextlib.suppress(ProtocolError):
            self._h2.send_headers(stream, trailers, end_stream=True)
            self._flush()
        self._calls.pop(stream, None)


class _Client(_Connection):
    def __init__(self, path: str, authority: str, request: bytes) -> None:
        super().__init__(client_side=True)
        self.messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.error = ""
        self._path, self._authority, self._request = path, authority, request
        self._reader = _Messages()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "http"),
                (":path", self._path),
                (":authority", self._authority),
                ("content-type", "application/grpc+json"),
                ("te", "trailers"),
            ],
        )
        data = struct.pack(">BI", 0, len(self._request)) + self._request
        self._h2.send_data(stream, data, end_stream=True)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._finish("the connection broke off")

    def _handle(self, event: Event) -> None:
        if isinstance(event, DataReceived):
            for message in self._reader.feed(event.data or b""):
                self.messages.put_nowait(message)
        elif isinstance(event, ResponseReceived | TrailersReceived):
            headers = _headers(event)
            status = headers.get("grpc-status")
            if headers.get(":status", "200") != "200":
                self.error = f"HTTP status {headers[':status']}"
            elif status is not None and status != str(OK):
                self.error = headers.get("grpc-message") or f"status {status}"
        elif isinstance(event, StreamReset):
            self._finish("the call was reset")
        elif isinstance(event, StreamEnded):
            self._finish(self.error)

    def _finish(self, error: str) -> None:
        if not self._ended:
            self._ended, self.error = True, error
            self.messages.put_nowait(None)
