"""The producer with sources that bring much: Jetstream's whole stream, and thousands of feeds.

Jetstream's stand-in is given 5,000 posts a second, of which one in 50 matches; the producer has its
default settings and a state file. First its lag, memory and processor time are measured, then it is
killed 20 times while the posts go on, and what the sink has is compared with what was published. The
lag of a post is the time from its cursor until the sink has it.

The feeds are read by a producer at an interval of a minute until all of them are known, then by one
at the default interval, whose processor time is measured while nothing changes. Its first round takes
500 s, so that it asks nearly twice as often as later on. Servers, publisher and sink share the
machine.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import requests
from aiohttp import web
from benchmarks._harness import Result, processor_seconds, resident_mib
from benchmarks.producer import serve_sink, stand_ins
from support.producer import Kit, Producer, kit, wait_for

from streamops_sandbox import control_socket
from streamops_sandbox.home import Home

PER_SECOND, ONE_IN, TEXT = 5000, 50, "firehose-benchmark"
BATCH_SECONDS = 0.02
STEADY_SECONDS, SETTLE_SECONDS = 30, 5
KILLS = 20
FEEDS, ENTRIES = 10_000, 20
IDLE_SECONDS = 60


def run() -> Result:
    """Measure both; each part has servers of its own."""
    figures: dict[str, Any] = {"load_average_before": round(os.getloadavg()[0], 1)}
    with tempfile.TemporaryDirectory() as folder, kit(Path(folder)) as made:
        figures |= _firehose(made)
        figures |= _feeds(made)
    goals = {
        "jetstream under 100 MiB": figures["jetstream_resident_mib"] < 100,
        "jetstream lag under 2 s": figures["jetstream_lag_seconds_worst"] < 2,
        "no post lost over 20 kills": figures["jetstream_lost"] == 0,
        "10,000 feeds under 200 MiB": figures["feeds_resident_mib"] < 200,
        "10,000 feeds under 20 % of a core idle": figures["feeds_core_percent"] < 20,
    }
    summary = (
        f"Jetstream at {PER_SECOND} posts/s, 1 in {ONE_IN} wanted: "
        f"{figures['jetstream_core_percent']} % of a core, {figures['jetstream_resident_mib']} MiB, "
        f"lag {figures['jetstream_lag_seconds_median']} s, {figures['jetstream_lag_seconds_worst']} "
        f"at worst; {figures['jetstream_lost']} of {figures['jetstream_posts']} posts lost and "
        f"{figures['jetstream_repeated']} repeated over {KILLS} kills, up to date again in "
        f"{figures['jetstream_catch_up_seconds']} s; {FEEDS} feeds: {figures['feeds_resident_mib']} "
        f"MiB, {figures['feeds_core_percent']} % of a core while nothing changes, at "
        f"{figures['feeds_requests_per_second']} requests/s"
    )
    return {"name": "sources", "summary": summary, "figures": figures, "goals": goals}


class _Arrivals:
    """A sink that notes each post's id and lag."""

    def __init__(self, made: Kit) -> None:
        self.ids: Counter[str] = Counter()
        self.lags: list[float] = []

        async def take(request: web.Request) -> web.Response:
            data = await request.json()
            self.ids[data["id"]] += 1
            self.lags.append(time.time() - data.get("bluesky", {}).get("time_us", 0) / 1e6)
            return web.Response(status=202)

        self.url = serve_sink(made, take)


def _firehose(made: Kit) -> dict[str, Any]:
    with stand_ins(made) as (urls, home):
        sink = _Arrivals(made)
        settings = {
            "source": "jetstream",
            "jetstream_url": f"ws{urls['networks'][4:]}/subscribe",
            "topics": TEXT,
            "lookback_seconds": 1,
            "k_sink": sink.url,
            "state": "file",
            "state_file": made.folder / "jetstream.json",
        }
        producer = made.producer(**settings)
        producer.saying("Jetstream is connected")
        with _Load(home) as load:
            time.sleep(SETTLE_SECONDS)
            figures = _steady(producer, sink)
            for _ in range(KILLS):
                time.sleep(random.uniform(0.5, 3))
                producer.kill()
                producer = made.producer(**settings)
                producer.saying("Jetstream is connected", 60)
            began = time.monotonic()
            wait_for(lambda: sink.lags[-1] < 1, 120)
            caught_up = time.monotonic() - began
        published = load.matching
        wait_for(lambda: sink.ids.keys() >= set(published) or not producer.running, 120)
        producer.stop()
    lost = set(published) - sink.ids.keys()
    return figures | {
        "jetstream_posts": len(published),
        "jetstream_lost": len(lost),
        "jetstream_repeated": sum(sink.ids.values()) - len(sink.ids),
        "jetstream_kills": KILLS,
        "jetstream_catch_up_seconds": round(caught_up, 1),
    }


def _steady(producer: Producer, sink: _Arrivals) -> dict[str, Any]:
    first, used, began = len(sink.lags), processor_seconds(producer.pid), time.monotonic()
    resident = 0.0
    while time.monotonic() - began < STEADY_SECONDS:
        resident = max(resident, resident_mib(producer.pid))
        time.sleep(0.5)
    seconds = time.monotonic() - began
    share = (processor_seconds(producer.pid) - used) / seconds
    lags = sink.lags[first:]
    return {
        "jetstream_core_percent": round(100 * share),
        "jetstream_resident_mib": round(resident, 1),
        "jetstream_posts_per_second": round(len(lags) / seconds),
        "jetstream_lag_seconds_median": round(statistics.median(lags), 3),
        "jetstream_lag_seconds_worst": round(max(lags), 3),
    }


class _Load:
    """Posts published without end on a thread of its own, until it is left."""

    def __init__(self, home: Path) -> None:
        self._home = Home(home)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        #: The ids of those that match.
        self.matching: list[str] = []

    def __enter__(self) -> _Load:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join(10)

    def _publish(self) -> None:
        began, count = time.monotonic(), 0
        while not self._ended.wait(BATCH_SECONDS):
            due = int((time.monotonic() - began) * PER_SECOND)
            entries = [
                {"text": f"nothing of interest, number {number}, said at length"}
                if number % ONE_IN
                else {"text": f"{TEXT} {number}"}
                for number in range(count, due)
            ]
            path = "/networks/jetstream/posts"
            status, ids = control_socket.call(self._home, "POST", path, entries)
            assert status == 200, ids
            self.matching += ids[-count % ONE_IN :: ONE_IN]
            count = due


def _feeds(made: Kit) -> dict[str, Any]:
    server, sink = _FeedServer(made), _Arrivals(made)
    listed = made.folder / "feeds.txt"
    listed.write_text("".join(f"{server.url}/feeds/{n}.atom\n" for n in range(FEEDS)))
    settings = {
        "source": "feed",
        "feeds_file": listed,
        "k_sink": sink.url,
        "state": "file",
        "state_file": made.folder / "feeds.json",
    }
    producer = made.producer(**settings, feed_interval_seconds=60)
    began = time.monotonic()
    wait_for(lambda: _status(producer)["feeds"]["read"] == FEEDS, 400)
    first_round = time.monotonic() - began
    resident = resident_mib(producer.pid)
    producer.stop()
    producer = made.producer(**settings)
    producer.saying("resumes from the checkpoint")
    time.sleep(SETTLE_SECONDS)
    asked, used, began = server.asked, processor_seconds(producer.pid), time.monotonic()
    time.sleep(IDLE_SECONDS)
    seconds = time.monotonic() - began
    share = (processor_seconds(producer.pid) - used) / seconds
    resident = max(resident, resident_mib(producer.pid))
    assert server.changed == FEEDS, "a feed was sent whole although it had not changed"
    producer.stop()
    return {
        "feeds": FEEDS,
        "feeds_first_round_seconds": round(first_round),
        "feeds_resident_mib": round(resident, 1),
        "feeds_core_percent": round(100 * share, 1),
        "feeds_requests_per_second": round((server.asked - asked) / seconds, 1),
    }


def _status(producer: Producer) -> dict[str, Any]:
    time.sleep(0.5)
    return requests.get(f"{producer.url}/status", timeout=30).json()


class _FeedServer:
    """Feeds of some old entries each, which never change; it counts what it is asked for."""

    def __init__(self, made: Kit) -> None:
        self.asked = self.changed = 0

        async def feed(request: web.Request) -> web.Response:
            self.asked += 1
            name = request.match_info["name"]
            headers = {"ETag": f'"{name}"'}
            if request.headers.get("If-None-Match") == headers["ETag"]:
                return web.Response(status=304, headers=headers)
            self.changed += 1
            return web.Response(
                text=_atom(name), content_type="application/atom+xml", headers=headers
            )

        def make(_url: str) -> web.Application:
            app = web.Application()
            app.router.add_get("/feeds/{name}.atom", feed)
            return app

        self.url = made.loop.serve(make)


def _atom(name: str) -> str:
    entries = "".join(
        f"<entry><id>urn:benchmark:{name}:{n}</id><title>An entry of usual length</title>"
        f"<updated>2026-01-{n % 28 + 1:02}T00:00:00Z</updated><author><name>Ada</name></author>"
        f"<content>Some sentences about what has happened since the entry before, as feeds have them."
        f"</content></entry>"
        for n in range(ENTRIES)
    )
    return f'<feed xmlns="http://www.w3.org/2005/Atom"><id>urn:{name}</id>{entries}</feed>'
