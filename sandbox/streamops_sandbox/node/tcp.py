"""Carrying bytes between two connections, and listeners that do so (node ports)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

Address = tuple[str, int]

_CHUNK = 256 * 1024
CONNECT_SECONDS = 10.0


async def carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    far_reader: asyncio.StreamReader,
    far_writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes both ways between two connections until both sides have ended."""
    await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, however it is."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def listen(host: str, port: int, resolve: Callable[[], Address | None]) -> asyncio.Server:
    """Listen and carry each connection to what `resolve` gives then. Raises OSError."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            if (target := resolve()) is not None:
                async with asyncio.timeout(CONNECT_SECONDS):
                    far_reader, far_writer = await asyncio.open_connection(*target)
                try:
                    await carry(reader, writer, far_reader, far_writer)
                finally:
                    await close(far_writer)
        await close(writer)

    return await asyncio.start_server(serve, host, port)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until there are no more."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):
        # One side has broken off: nothing that comes from the other can be delivered.
        writer.transport.abort()
