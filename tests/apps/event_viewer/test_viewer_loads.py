"""Loads that once stopped the viewer: it stays alive, small and of use to other clients.

Each takes VIEWER_LOAD_SECONDS (default 3; `make soak` has 60) with the limits of the container
the role makes: 256 MiB. What was measured is printed (`pytest -s`). Only a soak holds the answer
to a probe to one second, since in a test run the machine has other things to do.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event

import pytest
import requests
from apps.event_viewer.viewer_support import STRUCTURED, Start, memory_mib, wait_until

SECONDS = float(os.environ.get("VIEWER_LOAD_SECONDS", "3"))
PROBE_SECONDS = 1.0 if SECONDS >= 60 else 20.0
MEMORY_MIB = 200
MEGABYTE = 1_000_000

Address = tuple[str, int]
#: Loads an address until it is told to stop; runs in a process of its own.
Load = Callable[[Address, Event], None]


def request(path: str, host: str = "a") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def post(event_id: str, text: str, source: str = "/load") -> bytes:
    event = {"specversion": "1.0", "id": event_id, "source": source, "type": "t", "data": text}
    body = json.dumps(event, ensure_ascii=False).encode()
    head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {STRUCTURED}\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(viewer: Address, data: bytes, timeout: float = 60) -> bytes:
    """Send a request on a connection of its own, and return the start of the answer."""
    with socket.create_connection(viewer, timeout=timeout) as connection:
        connection.sendall(data)
        return connection.recv(65536)


class Clients:
    """Connections that send something and read nothing, opened again when they are closed."""

    def __init__(self, viewer: Address, count: int, sent: Callable[[int], bytes]) -> None:
        self.viewer = viewer
        self.sent = sent
        self.held: list[socket.socket | None] = [None] * count

    def hold(self, stop: Event, pause: float = 0.5) -> None:
        try:
            while not stop.is_set():
                for number, connection in enumerate(self.held):
                    if stop.is_set():
                        break
                    if connection is None or self._is_closed(connection):
                        self.held[number] = self._open(number)
                stop.wait(pause)
        finally:
            for connection in self.held:
                if connection is not None:
                    connection.close()

    def _open(self, number: int) -> socket.socket | None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2)
        try:
            connection.connect(self.viewer)
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                connection.send(self.sent(number))
        except OSError:
            connection.close()
            return None
        return connection

    @staticmethod
    def _is_closed(connection: socket.socket) -> bool:
        """Whether the viewer has closed it; found by sending, since nothing is read."""
        try:
            connection.send(b"")
            error = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError:
            error = 1
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return bool(error) or info[0] != 1  # TCP_ESTABLISHED


def unread_pages(viewer: Address, stop: Event) -> None:
    for number in range(8):
        ask(viewer, post(f"page-{number}", "x" * 900_000))
    Clients(viewer, 60, lambda _: request("/api/events?limit=1000")).hold(stop)


def unread_events(viewer: Address, stop: Event) -> None:
    ask(viewer, post("one", "x" * 900_000))
    Clients(viewer, 400, lambda _: request("/api/events/%2Fload/one")).hold(stop)


def unread_rejections(viewer: Address, stop: Event) -> None:
    bad = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    bad += b"".join(b"ce-x%d: %s\r\n" % (number, b"y" * 250) for number in range(40))
    for _ in range(300):
        ask(viewer, bad + b"Content-Length: 2048\r\n\r\n" + b"z" * 2048)
    Clients(viewer, 100, lambda _: request("/api/rejected?limit=1000")).hold(stop)


def sending(viewer: Address, stop: Event, make: Callable[[int], str]) -> None:
    def run() -> None:
        number = 0
        while not stop.is_set():
            with contextlib.suppress(OSError):
                ask(viewer, post(f"sent-{number}", make(number)))
            number += 1
            stop.wait(0.25)

    threading.Thread(target=run, daemon=True).start()


def unread_streams(viewer: Address, stop: Event) -> None:
    sending(viewer, stop, lambda number: f"{number} " + "x" * 900_000)
    Clients(viewer, 500, lambda _: request("/api/stream")).hold(stop)


def resumed_streams(viewer: Address, stop: Event) -> None:
    """Each at another event, so nothing is shared."""
    for number in range(50):
        ask(viewer, post(f"resumed-{number}", "x" * 900_000))
    page = requests.get(f"http://{viewer[0]}:{viewer[1]}/api/events?limit=0", timeout=30).json()
    epoch = page["position"].partition("-")[0]
    starts = [request(f"/api/stream?after={epoch}-{number}") for number in range(50)]
    Clients(viewer, 400, lambda number: starts[number % 50]).hold(stop)


def filtered_streams(viewer: Address, stop: Event) -> None:
    sending(viewer, stop, lambda number: f"{number} " + 'é\\"\n' * 100_000)
    Clients(viewer, 100, lambda number: request(f"/api/stream?text={'a' * 90}{number}")).hold(stop)


def long_attributes(viewer: Address, stop: Event) -> None:
    number = 0
    while not stop.is_set():
        source = f"/{number % 94}" + "s" * 900_000
        with contextlib.suppress(OSError):
            assert ask(viewer, post("1", "", source)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 429"))
        number += 1


def searches(viewer: Address, stop: Event) -> None:
    for number in range(150):
        ask(viewer, post(f"searched-{number}", 'hay\\"\né' * 50_000))

    def run(number: int) -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError):
                ask(viewer, request(f"/api/events?text={'ab' * (number % 2 + 1)}&limit=1000"))

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(16)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(40)


def idle_connections(viewer: Address, stop: Event) -> None:
    starts = (
        b"",
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na",
    )
    Clients(viewer, 1200, lambda number: starts[number % 3]).hold(stop, 0.1)


def slow_bodies(viewer: Address, stop: Event) -> None:
    start = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 60_000
    Clients(viewer, 400, lambda _: start).hold(stop)


def pipelines(viewer: Address, stop: Event) -> None:
    flood = (
        request("/api/events?limit=1000") * 10_000,
        request("/api/stream") + b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + b"x" * 300_000,
        request("/api/stream").replace(b"\r\n\r\n", b"\r\nContent-Length: 999999\r\n\r\n") + b"x" * 300_000,
    )  # fmt: skip
    Clients(viewer, 150, lambda number: flood[number % 3]).hold(stop)


def nested_json(viewer: Address, stop: Event) -> None:
    bodies = [
        b"[" + b"{}," * 300_000 + b"{}]",
        b"[" * 900_000,
        b"{" + b'"":[],' * 150_000 + b'"":1}',
    ]

    def run(number: int) -> None:
        body = bodies[number % 3]
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/cloudevents+json\r\n"
        data = head + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        while not stop.is_set():
            with contextlib.suppress(OSError):
                ask(viewer, data)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(12)]
    for thread in threads:
        thread.start()
    stop.wait()
    for thread in threads:
        thread.join(40)


LOADS: list[Load] = [
    unread_pages, unread_events, unread_rejections, unread_streams, resumed_streams,
    filtered_streams, long_attributes, searches, idle_connections, slow_bodies, pipelines,
    nested_json,
]  # fmt: skip


@pytest.fixture(autouse=True)
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.timeout(180 + 3 * SECONDS)
@pytest.mark.parametrize("load", LOADS, ids=lambda load: load.__name__)
def test_it_stays_alive_and_small(start: Start, load: Load) -> None:
    viewer = start(LOG_EVENTS="false")
    processes = multiprocessing.get_context("fork")
    stop = processes.Event()
    attack = processes.Process(target=load, args=(viewer.address, stop))
    attack.start()
    slowest, largest, served = 0.0, 0.0, 0
    try:
        end = time.monotonic() + SECONDS
        # On a busy machine the answers to two others may take longer than the load has to last.
        last = end + 120
        while (now := time.monotonic()) < end or (served < 2 and now < last):
            began = time.monotonic()
            assert ask(viewer.address, request("/healthz"), 60).startswith(b"HTTP/1.1 200")
            slowest = max(slowest, time.monotonic() - began)
            largest = max(largest, memory_mib(viewer))
            # Others are served: an event is taken and found again.
            event_id = f"other-{served}"
            taken = ask(viewer.address, post(event_id, "small", "/other"), 60)
            found = ask(viewer.address, request(f"/api/events/%2Fother/{event_id}"), 60)
            served += taken.startswith(b"HTTP/1.1 202") and found.startswith(b"HTTP/1.1 200")
            time.sleep(0.1)
        assert attack.is_alive()
    finally:
        stop.set()
        attack.join(60)
        if attack.is_alive():
            attack.kill()
    print(f"{load.__name__}: probe {slowest:.2f} s, {largest:.0f} MiB, {served} others served")
    assert viewer.process.poll() is None, viewer.log
    assert largest < MEMORY_MIB
    assert slowest < PROBE_SECONDS
    assert served >= 2
    assert "Traceback" not in viewer.log
    wait_until(lambda: viewer.get("/readyz").status_code == 200)
