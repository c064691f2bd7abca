"""The event viewer beside the original demo's app: rate, latency, batches, streams, memory.

The original's app (`Peer`) is Flask under gunicorn with one worker and eight threads, logging each
event. Both get the same posts from wrk, in turns, with their logs going to files; the viewer logs
every event here as well (its default limits that) and stores each before it answers.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks._harness import ROOT, Result
from support.ports import free_port

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 64
STREAMS = 200
STREAM_RATE = 1000
STREAM_SECONDS = 8
TEXT = "Knative turns a cluster into something you can just send events to. " * 4

PEER = """
import logging, sys
from flask import Flask, request
app = Flask(__name__)
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
@app.route("/", methods=["POST"])
def receive():
    app.logger.info("Event received: %s", request.get_data(as_text=True))
    return "OK", 200
@app.route("/healthz")
def healthy():
    return "ok"
"""
# One post after the other, each with an id of its own; `pause` ms before each request.
SINGLE = """
local pause, number = {pause}, os.time() % 1000000 * 1000000 + 1e12
local tail = '", "lang": "en", "text": "{text}"}}'
local length = #'{{"id": "' + 13 + #tail
local head = "POST / HTTP/1.1\\r\\nHost: viewer\\r\\nContent-Type: application/json\\r\\n" ..
  "ce-specversion: 1.0\\r\\nce-source: https://x.com\\r\\nce-type: com.x.post\\r\\n" ..
  "ce-time: 2026-01-31T12:00:00Z\\r\\nContent-Length: " .. length .. "\\r\\nce-id: "
function delay() return pause end
function request()
  number = number + 1
  local id = string.format("%.0f", number)
  return head .. id .. '\\r\\n\\r\\n{{"id": "' .. id .. tail
end
"""
BATCH = """
local text = "{text}"
local number = os.time() % 1000000 * 1000000
function request()
  local events = {{}}
  for i = 1, 100 do
    number = number + 1
    events[i] = '{{"specversion":"1.0","id":"' .. string.format("%.0f", number) .. '","source":"https://x.com",' ..
      '"type":"com.x.post","datacontenttype":"application/json","data":{{"text":"' .. text .. '"}}}}'
  end
  return wrk.format("POST", "/", {{["Content-Type"] = "application/cloudevents-batch+json"}},
    "[" .. table.concat(events, ",") .. "]")
end
"""


class Server:
    """A server's process; `url` is its address."""

    def __init__(self, folder: Path, name: str, arguments: list[str], **environ: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        path = [str(ROOT / "apps" / "event-viewer"), str(folder)]
        environ = {
            **os.environ,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "PYTHONPATH": os.pathsep.join(path),
            **environ,
        }
        arguments = [argument.replace("PORT", str(self.port)) for argument in arguments]
        with (folder / f"{name}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments], env=environ, stdout=log, stderr=log
            )
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.get("/healthz")
                return
            time.sleep(0.1)
        raise RuntimeError(f"{name} did not start: {(folder / f'{name}.log').read_text()}")

    def get(self, path: str) -> bytes:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + path, timeout=10) as answer:
            return bytes(answer.read())

    def last_seq(self) -> int:
        return int(json.loads(self.get("/api/events?limit=0"))["position"].split("-")[1])

    def pids(self) -> list[str]:
        """The processes: the one that was started, and its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [str(self.process.pid), *children.split()]

    def memory(self) -> float:
        """MiB resident in all its processes; what they share is counted in each."""
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in self.pids())
        return sum(int(re.findall(r"VmRSS:\s+(\d+) kB", one)[0]) for one in statuses) / 1024

    def cpu_seconds(self) -> float:
        """CPU time its processes have used; unlike rates hardly changed by others on the machine."""
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in self.pids()]
        ticks = (sum(map(int, one.rpartition(")")[2].split()[11:13])) for one in stats)
        return sum(ticks) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


@contextlib.contextmanager
def viewer(folder: Path, **environ: str) -> Iterator[Server]:
    server = Server(folder, "viewer", ["event_viewer"], LOG_EVENTS_PER_SECOND="0", **environ)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def peer(folder: Path) -> Iterator[Server]:
    (folder / "original_viewer.py").write_text(PEER)
    arguments = ["gunicorn", "-w", "1", "--threads", "8", "-b", "127.0.0.1:PORT"]
    server = Server(folder, "peer", [*arguments, "original_viewer:app"])
    try:
        yield server
    finally:
        server.stop()


def wrk(server: Server, folder: Path, script: str, connections: int = CONNECTIONS) -> Any:
    """Load it; requests per second, CPU time for each, latency p50 and p99 in ms, requests that failed."""
    path = folder / "load.lua"
    path.write_text(script)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", str(path)]
    used = server.cpu_seconds()
    out = subprocess.run(
        [*command, f"{server.url}/"], capture_output=True, text=True, check=True
    ).stdout
    failed = re.findall(r"Non-2xx or 3xx responses: (\d+)", out)
    for errors in re.findall(r"Socket errors: .*", out):
        failed += re.findall(r"\d+", errors)
    return {
        "rate": float(re.findall(r"Requests/sec:\s+([\d.]+)", out)[0]),
        "cpu_us": (server.cpu_seconds() - used)
        / int(re.findall(r"(\d+) requests in", out)[0])
        * 1e6,
        "p50": _ms(re.findall(r"50%\s+([\d.]+\w+)", out)[0]),
        "p99": _ms(re.findall(r"99%\s+([\d.]+\w+)", out)[0]),
        "failed": sum(map(int, failed)),
    }


def _ms(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def singles(folder: Path) -> dict[str, float]:
    """Rates in turns; then the viewer's latency at half of its own rate."""
    ours, theirs = [], []
    script = SINGLE.format(text=TEXT, pause=0)
    with peer(folder) as original, viewer(folder) as server:
        for _ in range(ROUNDS):
            theirs.append(wrk(original, folder, script))
            ours.append(wrk(server, folder, script))
        rate = statistics.median(one["rate"] for one in ours)
        # Each connection rests between requests so that all of them make half the rate.
        pause = round(CONNECTIONS / (rate / 2) * 1000)
        half = wrk(server, folder, SINGLE.format(text=TEXT, pause=pause))
        memory = server.memory()
        kept = json.loads(server.get("/api/events?limit=0"))["total"]
    peer_rate = statistics.median(one["rate"] for one in theirs)
    return {
        "single_events_per_second": round(rate),
        "peer_single_events_per_second": round(peer_rate),
        "single_ratio_to_peer": round(rate / peer_rate, 2),
        "cpu_us_per_event": round(statistics.median(one["cpu_us"] for one in ours)),
        "peer_cpu_us_per_event": round(statistics.median(one["cpu_us"] for one in theirs)),
        "single_failed_requests": sum(one["failed"] for one in [*ours, half]),
        "half_load_events_per_second": round(half["rate"]),
        "half_load_p50_ms": half["p50"],
        "half_load_p99_ms": half["p99"],
        "peer_full_load_p99_ms": statistics.median(one["p99"] for one in theirs),
        "memory_mib": round(memory, 1),
        "memory_events_kept": kept,
    }


def batches(folder: Path) -> dict[str, float]:
    """Events per second in batches of 100, as the store counts them."""
    rates, costs, failed = [], [], 0
    with viewer(folder) as server:
        for _ in range(ROUNDS):
            before, began = server.last_seq(), time.monotonic()
            load = wrk(server, folder, BATCH.format(text=TEXT[:140]), connections=8)
            stored = server.last_seq() - before
            rates.append(stored / (time.monotonic() - began))
            costs.append(load["cpu_us"] / 100)
            failed += load["failed"]
    return {
        "batch_events_per_second": round(statistics.median(rates)),
        "batch_cpu_us_per_event": round(statistics.median(costs), 1),
        "batch_failed": failed,
    }


def streams(folder: Path) -> dict[str, float]:
    """Many clients of the stream, in a process of their own, while events arrive one by one."""
    count = STREAM_RATE * STREAM_SECONDS
    with viewer(folder) as server:
        arguments = [sys.executable, __file__, str(server.port), str(STREAMS), str(count)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdout is not None
            clients.stdout.readline()  # all are connected
            rate = send(server.port, count)
            answer = json.loads(clients.stdout.readline())
        memory = server.memory()
    return {
        "stream_clients": STREAMS,
        "stream_sent_per_second": round(rate),
        "stream_clients_complete_in_order": answer["complete"],
        "stream_lag_seconds": answer["lag_seconds"],
        "stream_memory_mib": round(memory, 1),
    }


def send(port: int, count: int) -> float:
    """Send events at STREAM_RATE over some connections; the rate reached."""
    senders = 16
    began = time.monotonic()

    def run(first: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for turn, number in enumerate(range(first, count, senders)):
                wait = began + turn * senders / STREAM_RATE - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                body = json.dumps({"id": str(number), "text": TEXT})
                head = (
                    "POST / HTTP/1.1\r\nHost: viewer\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nce-specversion: 1.0\r\nce-id: {number}\r\n"
                    "ce-source: https://x.com\r\nce-type: com.x.post\r\n\r\n"
                )
                connection.sendall((head + body).encode())
                answer = connection.recv(4096)
                if not answer.startswith(b"HTTP/1.1 202"):
                    raise RuntimeError(answer.decode())

    threads = [threading.Thread(target=run, args=(first,)) for first in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count / (time.monotonic() - began)


def stream_clients(port: int, clients: int, count: int) -> None:
    """Read the stream with many connections, checking that each gets 1, 2, … count."""
    message = re.compile(rb"\nid: [0-9a-f]+-(\d+)\ndata: ")
    selector = selectors.DefaultSelector()
    for _ in range(clients):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"GET /api/stream HTTP/1.1\r\nHost: viewer\r\n\r\n")
        state = {"next": 1, "tail": b""}
        selector.register(connection, selectors.EVENT_READ, state)
    time.sleep(1)
    print("connected", flush=True)
    complete, broken, finished = 0, 0, []
    deadline = time.monotonic() + 120
    while complete + broken < clients and time.monotonic() < deadline:
        for key, _ in selector.select(1):
            part = key.fileobj.recv(1 << 18)  # type: ignore[union-attr] # a socket
            state = key.data
            text = state["tail"] + part
            found = [int(one) for one in message.findall(text)]
            # The last line may go on in the next part; what was counted must not count again.
            end = text.rfind(b"\nid: ", 0, len(text) - 64)
            state["tail"] = text[max(len(text) - 64, end + 5) :] if end >= 0 else text[-64:]
            found = [one for one in found if one >= state["next"]]
            if not part or found != list(range(state["next"], state["next"] + len(found))):
                broken += 1
                selector.unregister(key.fileobj)
            state["next"] += len(found)
            if state["next"] > count:
                complete += 1
                finished.append(time.monotonic())
                selector.unregister(key.fileobj)
    lag = max(finished) - min(finished) if finished else -1
    print(json.dumps({"complete": complete, "lag_seconds": round(lag, 2)}), flush=True)


def run() -> Result:
    """Measure; see the module's docstring."""
    if shutil.which("wrk") is None:
        raise RuntimeError("this benchmark needs wrk: apt-get install wrk")
    figures: dict[str, Any] = {}
    for part in (singles, batches, streams):
        with tempfile.TemporaryDirectory() as folder:
            figures |= part(Path(folder))
    summary = (
        "{single_events_per_second} single events/s, {single_ratio_to_peer} x the original's"
        " {peer_single_events_per_second}; p99 {half_load_p99_ms} ms at"
        " {half_load_events_per_second}/s; {batch_events_per_second} events/s in batches of 100;"
        " {stream_clients_complete_in_order} of {stream_clients} streams complete and in order at"
        " {stream_sent_per_second}/s; {memory_mib} MiB with {memory_events_kept} events"
    ).format(**figures)
    return {
        "name": "viewer",
        "summary": summary,
        "figures": figures,
        "goals": {
            "viewer: single events, at least 8 x the original's app": (
                figures["single_ratio_to_peer"] >= 8 and not figures["single_failed_requests"]
            ),
            "viewer: p99 under 20 ms at half of that load": figures["half_load_p99_ms"] < 20,
            "viewer: batches of 100, at least 30,000 events/s stored": (
                figures["batch_events_per_second"] >= 30_000 and not figures["batch_failed"]
            ),
            "viewer: 200 stream clients get all of 1,000 events/s in order": (
                figures["stream_clients_complete_in_order"] == STREAMS
                and figures["stream_sent_per_second"] >= STREAM_RATE * 0.95
            ),
            "viewer: under 120 MiB with 10,000 events kept": (
                figures["memory_mib"] < 120 and figures["memory_events_kept"] >= 10_000
            ),
        },
    }


if __name__ == "__main__":
    stream_clients(*map(int, sys.argv[1:]))
