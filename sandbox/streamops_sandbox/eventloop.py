"""What asyncio needs to be told for many child processes and many TLS connections."""

from __future__ import annotations

import asyncio
import asyncio.sslproto
import sys

_TLS_BUFFER_BYTES = 32 * 1024  # two TLS records


def prepare() -> None:
    """Call before the event loop is made."""
    _use_pidfd_watcher()
    _shrink_tls_buffers()


def _use_pidfd_watcher() -> None:
    """Wait for child processes without a thread for each, as Python 3.12 does by itself."""
    if sys.version_info < (3, 12):
        policy = asyncio.get_event_loop_policy()
        policy.set_child_watcher(asyncio.PidfdChildWatcher())


def _shrink_tls_buffers() -> None:
    """Give each TLS connection a smaller read buffer than asyncio's 256 KiB.

    A cluster holds a watch for every kind, and both of its ends: that is 20 MiB. There is no
    public setting; where asyncio changes its ways this does nothing.
    """
    protocol = asyncio.sslproto.SSLProtocol
    if getattr(protocol, "max_size", 0) > _TLS_BUFFER_BYTES:
        protocol.max_size = _TLS_BUFFER_BYTES
