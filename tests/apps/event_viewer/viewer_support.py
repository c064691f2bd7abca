"""A running viewer, and requests to it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.ports import free_port

from event_viewer.store.interface import Store

#: Seconds that a process, a request or a condition is waited for: the machine may be busy with other tests.
PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[3]
APP = ROOT / "apps" / "event-viewer"
STRUCTURED = "application/cloudevents+json; charset=utf-8"
BATCH = "application/cloudevents-batch+json; charset=utf-8"


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclasses.dataclass
class Viewer:
    """A viewer's process and how to talk to it."""

    url: str
    process: subprocess.Popen[bytes]
    log_path: Path
    http: requests.Session

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def address(self) -> tuple[str, int]:
        parts = urllib.parse.urlsplit(self.url)
        return parts.hostname or "", parts.port or 0

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.http.get(self.url + path, timeout=PATIENCE, **options)

    def post(self, path: str = "/", **options: Any) -> requests.Response:
        return self.http.post(self.url + path, timeout=PATIENCE, **options)

    def send(self, event: dict[str, Any], **options: Any) -> requests.Response:
        """Send an event in structured mode."""
        body = json.dumps(event, ensure_ascii=False).encode()
        return self.post(data=body, headers={"content-type": STRUCTURED}, **options)

    def send_batch(self, events: list[dict[str, Any]]) -> requests.Response:
        body = json.dumps(events).encode()
        return self.post(data=body, headers={"content-type": BATCH})

    def events(self, **parameters: Any) -> list[dict[str, Any]]:
        answer = self.get("/api/events", params=parameters)
        answer.raise_for_status()
        return answer.json()["events"]

    def find(self, source: str, event_id: str) -> requests.Response:
        quoted = [urllib.parse.quote(part, safe="") for part in (source, event_id)]
        return self.get("/api/events/" + "/".join(quoted))

    def rejected(self) -> list[dict[str, Any]]:
        return self.get("/api/rejected").json()["rejected"]

    def raw(self, data: bytes) -> bytes:
        """Send these bytes and return what comes back until the viewer closes the connection."""
        with socket.create_connection(self.address, timeout=PATIENCE) as connection:
            connection.sendall(data)
            got = b""
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(65536):
                    got += part
            return got

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


Start = Callable[..., Viewer]
OpenStore = Callable[..., Store]


@contextlib.contextmanager
def redis_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """A Redis of the test's own; yields its URL."""
    port = port or free_port()
    with subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        cwd=folder,
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(lambda: accepts(port))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()


class Stream:
    """A client of the stream, reading in a thread."""

    def __init__(self, viewer: Viewer, last: str = "", **parameters: str) -> None:
        headers = {"Last-Event-ID": last} if last else {}
        self.messages: list[tuple[str, Any]] = []
        self.resets = 0
        self.ended = False
        self.answer = viewer.get("/api/stream", params=parameters, headers=headers, stream=True)
        assert self.answer.status_code == 200, self.answer.text
        assert self.answer.headers["content-type"] == "text/event-stream"
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        message_id = ""
        with contextlib.suppress(requests.RequestException, AttributeError, ValueError):
            for line in self.answer.iter_lines(chunk_size=None):
                if line.startswith(b"id: "):
                    message_id = line[4:].decode()
                elif line == b"event: reset":
                    self.resets += 1
                elif line.startswith(b"data: {") and message_id:
                    self.messages.append((message_id, json.loads(line[6:])))
                    message_id = ""
        self.ended = True

    @property
    def ids(self) -> list[str]:
        return [record["event"]["id"] for _, record in self.messages]

    def wait_for(self, count: int) -> list[str]:
        wait_until(lambda: len(self.messages) >= count)
        return self.ids


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Callable[..., Viewer]]:
    """Starts viewers (`start(PORT=…, STORE=…)`), all stopped at the end."""
    started: list[Viewer] = []

    def start(**more: Any) -> Viewer:
        port = more.pop("PORT", None) or free_port()
        named = {key: str(value) for key, value in {**settings, **more}.items()}
        environ = {
            key: value
            for key, value in os.environ.items()
            if not re.match(r"(?i)(https?|all|no)_proxy$", key)
        }
        environ |= {"HOST": "127.0.0.1", "PORT": str(port), "PYTHONPATH": str(APP), **named}
        log_path = folder / f"viewer-{len(started)}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "event_viewer"],
                env=environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        session = requests.Session()
        session.trust_env = False
        viewer = Viewer(f"http://127.0.0.1:{port}", process, log_path, session)
        started.append(viewer)
        wait_until(lambda: process.poll() is not None or is_ready(viewer))
        assert process.poll() is None, viewer.log
        return viewer

    try:
        yield start
    finally:
        for viewer in started:
            viewer.http.close()
            if viewer.process.poll() is None:
                viewer.process.terminate()
        for viewer in started:
            try:
                viewer.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                viewer.process.kill()
                raise


def workers(viewer: Viewer) -> list[int]:
    """Return the process ids of gunicorn's workers."""
    pid = viewer.process.pid
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def memory_mib(viewer: Viewer) -> float:
    """What the viewer's processes have resident of their own; what they share counts once.

    Pages of files, such as the interpreter's, are left out: a process that shares them counts the
    more of them the fewer others there are at the moment.
    """
    total = 0.0
    for one in (viewer.process.pid, *workers(viewer)):
        rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        total += int(re.findall(r"^Pss_Anon: +(\d+) kB", rollup, re.MULTILINE)[0]) / 1024
    return total


def is_ready(viewer: Viewer) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return viewer.get("/healthz").status_code == 200
    return False


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The condition's first true value; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    pytest.fail(f"waited {seconds} s in vain")
