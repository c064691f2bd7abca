"""The live stream: order, resuming, filters, and clients that stall."""

from __future__ import annotations

import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
from apps.event_viewer.viewer_support import (
    Start,
    Stream,
    Viewer,
    memory_mib,
    wait_until,
)
from support.ports import free_port

from event_viewer.stream import HEARTBEAT_SECONDS

Make = Callable[..., dict[str, Any]]


def open_streams(viewer: Viewer) -> int:
    metrics = viewer.get("/metrics").text
    (line,) = (line for line in metrics.splitlines() if line.startswith("event_viewer_streams "))
    return int(float(line.split()[1]))


def test_events_arrive_in_order(start: Start, event: Make) -> None:
    viewer = start()
    viewer.send(event("before"))
    stream = Stream(viewer)
    for number in range(3):
        viewer.send_batch([event(f"{number}-{n}") for n in range(400)])
    expected = [f"{number}-{n}" for number in range(3) for n in range(400)]
    assert stream.wait_for(1200) == expected


def test_a_single_event_arrives_at_once(start: Start, event: Make) -> None:
    viewer = start()
    stream = Stream(viewer)
    wait_until(lambda: open_streams(viewer) == 1)
    began = time.monotonic()
    for number in range(1, 5):
        viewer.send(event(number))
        stream.wait_for(number)
    # Found with the heartbeats only, each but the first would have taken as long as one.
    assert time.monotonic() - began < 3 * HEARTBEAT_SECONDS


def test_resumes_after_the_last_event(start: Start, event: Make, tmp_path: Path) -> None:
    """Also when the viewer was away in between: it has kept its history."""
    settings = {"STORE": tmp_path / "events.db", "PORT": free_port()}
    viewer = start(**settings)
    first = Stream(viewer)
    viewer.send_batch([event(number) for number in range(5)])
    first.wait_for(5)
    assert viewer.stop() == 0
    wait_until(lambda: first.ended)
    viewer = start(**settings)
    for first_id in (5, 1005):
        viewer.send_batch([event(number) for number in range(first_id, first_id + 1000)])
    second = Stream(viewer, last=first.messages[2][0])
    viewer.send(event("last"))
    assert second.wait_for(2003) == [*map(str, range(3, 2005)), "last"]
    assert second.resets == 0


def test_another_history_is_told(start: Start, event: Make) -> None:
    """Without STORE a restart forgets: the client hears of it and gets what there is."""
    port = free_port()
    viewer = start(PORT=port)
    first = Stream(viewer)
    viewer.send_batch([event(number) for number in range(50)])
    first.wait_for(50)
    viewer.stop()
    viewer = start(PORT=port)
    viewer.send(event("new"))
    second = Stream(viewer, last=first.messages[-1][0])
    assert second.wait_for(1) == ["new"]
    assert second.resets == 1


def test_a_position_that_is_none(start: Start, event: Make) -> None:
    viewer = start()
    viewer.send(event(1))
    epoch = viewer.get("/api/events").json()["position"].split("-")[0]
    for wrong in ("x", "-", f"{epoch}-x", f"{epoch}-{'9' * 5000}", "0-1"):
        stream = Stream(viewer, last=wrong)
        assert stream.wait_for(1) == ["1"]
        assert stream.resets == 1


def test_starts_where_a_page_ended(start: Start, event: Make) -> None:
    viewer = start()
    viewer.send(event(1))
    page = viewer.get("/api/events").json()
    viewer.send(event(2))
    assert Stream(viewer, after=page["position"]).wait_for(1) == ["2"]


def test_filters(start: Start, event: Make) -> None:
    viewer = start()
    streams = [Stream(viewer, type="b"), Stream(viewer, text="NEEDLE")]
    viewer.send(event(1, type="a", data="a needle"))
    viewer.send(event(2, type="b", data="hay"))
    viewer.send(event(3, type="b", data="needles"))
    assert streams[0].wait_for(2) == ["2", "3"]
    assert streams[1].wait_for(2) == ["1", "3"]


def test_two_workers_tell_of_each_others_events(start: Start, event: Make) -> None:
    viewer = start(WORKERS=2)
    streams = [Stream(viewer) for _ in range(6)]
    for number in range(30):
        with requests.Session() as session:  # another connection, perhaps to the other worker
            viewer.http = session
            viewer.send(event(number))
    for stream in streams:
        assert stream.wait_for(30) == [str(number) for number in range(30)]


def test_as_many_as_allowed(start: Start) -> None:
    viewer = start(MAX_STREAMS=2)
    with stalled(viewer), stalled(viewer):
        wait_until(lambda: open_streams(viewer) == 2)
        assert viewer.get("/api/stream").status_code == 503
    wait_until(lambda: open_streams(viewer) == 0)
    Stream(viewer)


@contextlib.contextmanager
def stalled(viewer: Viewer, parameters: str = "") -> Iterator[socket.socket]:
    """A client that asks for the stream and never reads it."""
    with socket.create_connection(viewer.address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"GET /api/stream{parameters} HTTP/1.1\r\nHost: viewer\r\n\r\n"
        connection.sendall(head.encode())
        yield connection


def test_stalled_clients_cost_others_nothing(start: Start, event: Make) -> None:
    viewer = start(KEEP_EVENTS=500)
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(stalled(viewer))
        wait_until(lambda: open_streams(viewer) == 20)
        stream = Stream(viewer)
        for batch in range(20):
            viewer.send_batch([event(f"{batch}-{n}", data="x" * 5000) for n in range(100)])
            stream.wait_for(100 * (batch + 1))
    wait_until(lambda: open_streams(viewer) == 1)


def test_a_client_that_takes_nothing_is_dropped(start: Start, event: Make) -> None:
    viewer = start(REQUEST_TIMEOUT_SECONDS=3)
    reader = Stream(viewer)
    sent = itertools.count(1)
    with stalled(viewer):
        wait_until(lambda: open_streams(viewer) == 2)

        def dropped() -> bool:
            batch = next(sent)
            viewer.send_batch([event(f"{batch}-{n}", data="x" * 5000) for n in range(100)])
            reader.wait_for(100 * batch)  # it takes what it is sent, also on a busy machine
            return open_streams(viewer) == 1

        wait_until(dropped)
        assert not reader.ended


def test_large_events_do_not_fill_the_memory(start: Start, event: Make) -> None:
    viewer = start()
    stream = Stream(viewer)
    for number in range(100):
        assert viewer.send(event(number, data="x" * 900_000)).status_code == 202
    assert stream.wait_for(100) == [str(number) for number in range(100)]
    assert 1 <= len(viewer.events(limit=1000)) < 10
    assert memory_mib(viewer) < 150


def test_stalled_clients_hold_parts_of_large_events(start: Start, event: Make) -> None:
    """Each at an event of its own, so nothing they hold is shared."""
    viewer = start()
    for number in range(60):
        viewer.send(event(number, data="x" * 900_000))
    epoch = viewer.get("/api/events", params={"limit": 0}).json()["position"].split("-")[0]
    before = memory_mib(viewer)
    with contextlib.ExitStack() as stack:
        for number in range(60):
            stack.enter_context(stalled(viewer, f"?after={epoch}-{number}"))
        wait_until(lambda: open_streams(viewer) == 60)
        assert Stream(viewer, after=f"{epoch}-0").wait_for(60) == [str(n) for n in range(60)]
        assert memory_mib(viewer) - before < 30
        sizes = {len(record["event"]["data"]) for record in viewer.events(limit=3)}
        assert sizes == {900_000}


def test_streams_end_on_shutdown(start: Start) -> None:
    viewer = start(SHUTDOWN_GRACE_SECONDS=600)
    streams = [Stream(viewer) for _ in range(5)]
    assert viewer.stop() == 0  # waits less than that
    wait_until(lambda: all(stream.ended for stream in streams))
