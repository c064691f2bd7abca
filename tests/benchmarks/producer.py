"""The producer's throughput, memory and start, beside the original demo's loop.

Throughput is that of one poll which finds 100 posts: the seconds from the request to X until the
sink has accepted the last post and the checkpoint is on disk, as the producer logs them. Settings
are the defaults (one post in flight, so that the order is kept); X and the sink are processes of
their own on the same machine. The polls are a minute apart by X's clock: as in life, each reads the
posts of the one before again, in its overlap, and none older than those.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from aiohttp import web
from benchmarks._harness import Result
from support.producer import PATHS, ROOT, Kit, Producer, Sink, X, kit, wait_for
from support.producer_secrets import Secrets

from streamops_sandbox.home import Home

BATCH = 100
POLLS = 15
REPEATS = 3
POLL_DISTANCE_SECONDS = 60
STARTS = 5
LONG_RUN = 100_000
LONG_RUN_SPACING = 0.02
LONG_RUN_TEXT = "a post of usual length, which says something about knative, twice: knative"
ORIGINAL_POLLS = 3
#: Like real posts: quotes and newlines in one of four.
TEXTS = ("plain knative post", 'a "quoted" knative post', "knative on\ntwo lines", "knative 🐦")


def run() -> Result:
    """Measure; each part has servers of its own, in processes of their own."""
    with tempfile.TemporaryDirectory() as folder, kit(Path(folder)) as made:
        figures: dict[str, Any] = {"load_average_before": round(os.getloadavg()[0], 1)}
        with _x(made) as x:
            figures |= _start(made, x)
        figures |= _throughput(made)
        with _x(made) as x, _viewer(made) as viewer:
            figures |= _original(made, x, viewer)
        with _x(made) as x:
            figures |= _memory(made, x)
    figures["ratio_to_original"] = round(
        figures["posts_per_second_plain_sink"] / figures["original_posts_per_second"], 2
    )
    goals = {
        "1,000 posts/s from poll to accepted": figures["posts_per_second"] >= 1000,
        "resident under 90 MiB": figures["resident_mib_after_100k"] < 90,
        "start to first post under 1.5 s": figures["start_seconds_secret_manager"] < 1.5,
    }
    summary = (
        f"{figures['posts_per_second']} posts/s from poll to accepted by the viewer, the median of "
        f"{figures['polls']} polls of {BATCH} posts "
        f"(best {figures['posts_per_second_best']}, worst {figures['posts_per_second_worst']}; "
        f"into a plain sink {figures['posts_per_second_plain_sink']}, the original's loop "
        f"{figures['original_posts_per_second']}), "
        f"{figures['resident_mib_after_10k']} MiB after 10,000 posts and "
        f"{figures['resident_mib_after_100k']} after {LONG_RUN:,}, "
        f"first post {figures['start_seconds']} s after the start "
        f"({figures['start_seconds_secret_manager']} s with keys from Secret Manager); "
        f"the original's {ORIGINAL_POLLS} "
        f"polls of {BATCH} posts sent {figures['original_requests_per_post']} requests a post, of "
        f"which the viewer took {figures['original_accepted']} "
        f"({figures['original_broken_json_percent']} % were no JSON)"
    )
    return {"name": "producer", "summary": summary, "figures": figures, "goals": goals}


def _start(made: Kit, x: X) -> dict[str, Any]:
    """Time from starting the process to the first post in the sink; medians."""
    x.publish_many(1)
    secrets = Secrets.start(made)
    secrets.store(x.keys)
    return {
        "start_seconds": _first_post(made, lambda sink: made.searching(x, sink)),
        "start_seconds_secret_manager": _first_post(
            made, lambda sink: secrets.settings(made, x, sink)
        ),
    }


def _first_post(made: Kit, settings: Callable[[Sink], dict[str, Any]]) -> float:
    seconds = []
    for _ in range(STARTS):
        sink = made.sink()
        state = Path(tempfile.mkdtemp(dir=made.folder)) / "state.json"
        began = time.monotonic()
        producer = made.producer(**{**settings(sink), "state_file": state})
        wait_for(lambda sink=sink: sink.received)
        seconds.append(sink.received[0].at - began)
        producer.kill()
    return round(statistics.median(seconds), 2)


def _throughput(made: Kit) -> dict[str, Any]:
    """Posts a second into the viewer, and into the sink that the original is measured with."""
    rates: list[float] = []
    plain: list[float] = []
    for _ in range(REPEATS):  # in turn, so that a busy moment of the machine hits both
        with _x(made) as x, _viewer(made) as viewer:
            rates += _rates(made, x, _At(viewer))
            total = requests.get(viewer + "/api/events?limit=0", timeout=10).json()["total"]
            assert total == BATCH * POLLS, f"the viewer has {total}"
        with _x(made) as x:
            sink = made.sink()
            plain += _rates(made, x, sink)
            requests_per_post = len(sink.received) / (BATCH * POLLS)
    return {
        "polls": len(rates),
        "posts_per_second": round(statistics.median(rates)),
        "posts_per_second_best": round(max(rates)),
        "posts_per_second_worst": round(min(rates)),
        "posts_per_second_plain_sink": round(statistics.median(plain)),
        "requests_per_post": requests_per_post,
    }


def _rates(made: Kit, x: X, sink: Any) -> list[float]:
    """Posts a second of each poll that found 100 posts."""
    state = Path(tempfile.mkdtemp(dir=made.folder)) / "state.json"
    settings = made.searching(x, sink, poll_interval_seconds=0.3, budget_posts=0, state_file=state)
    producer = made.producer(**settings)
    producer.saying("started")
    for number in range(POLLS):
        before = len(_batches(producer))
        x.control("PUT", "/clock", {"ahead_seconds": number * POLL_DISTANCE_SECONDS})
        x.publish(*({"text": TEXTS[n % 4] + f" {number}"} for n in range(BATCH)))
        wait_for(lambda before=before: len(_batches(producer)) > before)
    producer.stop()
    return [batch["posts"] / batch["seconds"] for batch in _batches(producer)]


def _batches(producer: Producer) -> list[dict[str, Any]]:
    found = [e for e in producer.log if e["message"] == "delivered"]
    return [e for e in found if e["posts"] == BATCH]


def _original(made: Kit, x: X, viewer: str) -> dict[str, Any]:
    """The original's loop against the same servers."""
    x.publish(*({"text": TEXTS[n % 4]} for n in range(BATCH)))
    sink = made.sink()
    seconds = [float(s) for s in _run_original(x, sink.url)]
    broken = sum(not _is_json(event.body) for event in sink.received)
    _run_original(x, viewer)
    accepted = requests.get(viewer + "/api/events?limit=0", timeout=10).json()["total"]
    return {
        "original_posts_per_second": round(BATCH / statistics.median(seconds)),
        "original_requests_per_post": len(sink.received) // BATCH,
        "original_broken_json_percent": round(100 * broken / len(sink.received)),
        "original_accepted": accepted,
    }


def _run_original(x: X, sink: str) -> list[str]:
    keys = {f"X_{name.upper()}": key for name, key in x.keys.items()}
    environment = {"X_API_URL": x.url, "K_SINK": sink, "POLLS": str(ORIGINAL_POLLS), **keys}
    script = Path(__file__).with_name("original_producer.py")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.split()


def _is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except ValueError:
        return False
    return True


def _memory(made: Kit, x: X) -> dict[str, Any]:
    """Resident memory early in a long run and at its end."""
    x.control("PUT", "/limits", {"search/user": LONG_RUN})
    first = _id_of(time.time() - LONG_RUN * LONG_RUN_SPACING)
    for start in range(0, LONG_RUN, 5000):
        ids = (first + (int(n * LONG_RUN_SPACING * 1000) << 22) for n in range(start, start + 5000))
        x.publish(*({"id": str(post_id), "text": LONG_RUN_TEXT} for post_id in ids))
    sink = _Counting(made)
    settings = made.searching(x, sink, budget_posts=0, state_file=made.folder / "long.json")
    began = time.monotonic()
    producer = made.producer(**settings)
    wait_for(lambda: sink.count >= LONG_RUN // 10, 120)
    early = producer.resident_mib()
    wait_for(lambda: sink.count >= LONG_RUN, 400)
    seconds = time.monotonic() - began
    late = producer.resident_mib()
    producer.stop()
    return {
        "resident_mib_after_10k": round(early, 1),
        "resident_mib_after_100k": round(late, 1),
        "long_run_posts_per_second": round(LONG_RUN / seconds),
    }


def _id_of(moment: float) -> int:
    """Return an id that X would have given at this Unix time."""
    return (int(moment * 1000) - 1288834974657) << 22


class _At:
    """A sink that is somewhere else."""

    def __init__(self, url: str) -> None:
        self.url = url + "/"


class _Counting:
    """A sink that only counts, with as little work as can be."""

    def __init__(self, made: Kit) -> None:
        self.count = 0

        async def take(request: web.Request) -> web.Response:
            await request.read()
            self.count += 1
            return web.Response(status=202)

        self.url = serve_sink(made, take)


def serve_sink(made: Kit, take: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
    """Serve what takes events, and return its URL."""

    def make(_url: str) -> web.Application:
        app = web.Application()
        app.router.add_post("/", take)
        return app

    return made.loop.serve(make) + "/"


@contextmanager
def process(
    *command: str, stdout: int = subprocess.PIPE, **settings: str
) -> Iterator[subprocess.Popen[str]]:
    path = os.pathsep.join(str(ROOT / part) for part in PATHS)
    started = subprocess.Popen(
        [sys.executable, "-m", *command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path, **settings},
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield started
    finally:
        started.terminate()
        started.wait(20)


@contextmanager
def stand_ins(made: Kit) -> Iterator[tuple[dict[str, str], Path]]:
    """The stand-ins in a process of their own, X's without posts; gives their URLs and their folder."""
    home = Path(tempfile.mkdtemp(dir=made.folder))
    empty = home / "none.json"
    empty.write_text('{"data": []}')
    arguments = (f"--home={home}", "--port=0", f"--posts={empty}")
    with process("streamops_sandbox.supervisor", *arguments) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()  # written once everything answers
        state = Home(home).read_state()
        assert state is not None
        yield state["urls"], home


@contextmanager
def _x(made: Kit) -> Iterator[X]:
    with stand_ins(made) as (urls, home):
        yield X.at(urls["x"], home)


@contextmanager
def _viewer(made: Kit) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = Path(tempfile.mkdtemp(dir=made.folder)) / "events.db"
    settings = {"HOST": "127.0.0.1", "PORT": str(port), "STORE": str(store)}
    url = f"http://127.0.0.1:{port}"
    with process("event_viewer", stdout=subprocess.DEVNULL, **settings):
        wait_for(lambda: _ready(url), 20)
        yield url


def _ready(url: str) -> bool:
    try:
        return requests.get(url + "/readyz", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False
