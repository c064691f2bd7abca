"""What the sandbox's programs share: log, signals, asyncio for many TLS connections."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import logging
import signal
import sys
from collections.abc import Coroutine
from typing import Any

_TLS_BUFFER_BYTES = 32 * 1024  # two TLS records


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run something until SIGTERM or SIGINT; raises what ends it before."""
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: task.cancelling() or task.cancel())
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


def prepare() -> None:
    """Call before the event loop is made: logs to standard error, with the time."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    _shrink_tls_buffers()


def _shrink_tls_buffers() -> None:
    """Give each TLS connection a smaller read buffer than asyncio's 256 KiB.

    A cluster holds a watch for every kind, and both of its ends: that is 20 MiB. There is no
    public setting; where asyncio changes its ways this does nothing.
    """
    protocol = asyncio.sslproto.SSLProtocol
    if getattr(protocol, "max_size", 0) > _TLS_BUFFER_BYTES:
        protocol.max_size = _TLS_BUFFER_BYTES
