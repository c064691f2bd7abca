"""Ports for servers that have to be told theirs."""

from __future__ import annotations

import itertools
import random
import socket

#: Below what a kernel gives to clients, and to servers that take any: between the question and the
#: server's start nobody gets such a port by chance. Kubernetes' node ports begin above.
_PORTS = range(10_000, 30_000)
_turn = itertools.count(random.randrange(len(_PORTS)))


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free, another one each time."""
    while True:
        port = _PORTS[next(_turn) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
