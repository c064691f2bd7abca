"""A network of nothing but a loopback interface, as a machine has that is cut off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_LOOPBACK = """
import fcntl, socket, struct, sys
with socket.socket() as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
print("up", flush=True)
sys.stdin.read()
"""


@contextmanager
def loopback_only() -> Iterator[list[str]]:
    """Yield the words that a command begins with to run there; the test is skipped where that is not allowed."""
    holder = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c", _LOOPBACK],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert holder.stdin
    assert holder.stdout
    try:
        if holder.stdout.readline() != "up\n":
            pytest.skip("needs the right to make a network namespace: unshare --user --net")
        namespaces = ["--user", "--net", "--preserve-credentials"]
        yield ["nsenter", "--target", str(holder.pid), *namespaces]
    finally:
        holder.stdin.close()
        holder.wait(60)
