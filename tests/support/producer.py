"""What the producer's tests and benchmark run against: X's stand-in, a sink, the process itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from aiohttp import web

from streamops_sandbox import control_socket
from streamops_sandbox.home import Home
from streamops_sandbox.x.app import create_app

#: Seconds that a process, a request or a condition is waited for: the machine may be busy with other tests.
PATIENCE = 60.0
ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("X_API_DOCUMENTS", ROOT.parent / "shared" / "x-api"))
PATHS = ("sandbox", "apps/twitter-producer", "apps/event-viewer")


class Loop:
    """An event loop in a thread, for the servers of a test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._runners: list[web.AppRunner] = []

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE * 2)

    def serve(
        self, make: Callable[[str], web.Application], port: int = 0, tls: Path | None = None
    ) -> str:
        """Serve what `make(base_url)` returns; return the base URL.

        `tls` is a file with the certificate of `localhost` and its key.
        """
        context = None
        if tls is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(tls)

        async def start() -> str:
            listener = socket.create_server(("127.0.0.1", port))
            bound = listener.getsockname()[1]
            url = f"https://localhost:{bound}" if context else f"http://127.0.0.1:{bound}"
            runner = web.AppRunner(make(url), access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.SockSite(runner, listener, ssl_context=context).start()
            self._runners.append(runner)
            return url

        return self.run(start())

    def serve_control(self, name: str, app: web.Application, home: Path) -> None:
        """Serve a stand-in's control interface at `/NAME` on the socket in its folder."""
        root = web.Application()
        root.add_subapp(f"/{name}", app[control_socket.CONTROL])
        self._runners.append(self.run(control_socket.serve(root, Home(home))))

    def close(self) -> None:
        for runner in self._runners:
            self.run(runner.cleanup())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class X:
    """X's stand-in and its control interface."""

    def __init__(self, loop: Loop, home: Path, posts: Path | None = None) -> None:
        self.home = home
        empty = home / "no-posts.json"
        Home(home).make()
        empty.write_text('{"data": []}')
        made: list[web.Application] = []

        def make(url: str) -> web.Application:
            made.append(create_app(home=home, base_url=url, posts=posts or empty))
            return made[0]

        self.url = loop.serve(make)
        loop.serve_control("x", made[0], home)

    @classmethod
    def at(cls, url: str, home: Path) -> X:
        """Return one that runs elsewhere."""
        x = cls.__new__(cls)
        x.url, x.home = url, home
        return x

    @property
    def keys(self) -> dict[str, str]:
        return json.loads((self.home / "x-keys.json").read_text())

    def control(self, method: str, path: str = "", body: Any = None) -> Any:
        status, answer = control_socket.call(Home(self.home), method, f"/x{path or '/'}", body)
        assert status == 200, answer
        return answer

    def publish(self, *entries: dict[str, Any], matching: str = "all") -> list[str]:
        return self.control("POST", f"/posts?matching={matching}", list(entries))

    def publish_many(self, count: int, text: str = "post") -> list[str]:
        return self.publish(*({"text": f"{text} {n}"} for n in range(count)))

    def fault(self, kind: str, path: str = "/2/tweets", **details: Any) -> None:
        """Let one of the next requests fail; not the one for X's time, unless the path says so."""
        self.control("POST", "/faults", {"kind": kind, "path": path, **details})

    def bill(self) -> dict[str, Any]:
        return self.control("GET")["bill"]

    def requests(self) -> list[dict[str, Any]]:
        """Return what X was asked for, but for its time."""
        made = self.control("GET", "/requests")
        return [request for request in made if request["method"] != "HEAD"]


@dataclass
class Received:
    """A request that the sink has accepted."""

    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers.get("ce-id", "")

    @property
    def data(self) -> Any:
        return json.loads(self.body)


@dataclass
class Sink:
    """Records events; `answers` are given first (status, headers), one per request.

    A status of 0 closes the connection; an answer with "sleep" waits so many seconds first, and
    accepts nothing. `decide` may replace the list: called for each request, None means accept.
    """

    loop: Loop
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    decide: Callable[[Received], tuple[int, dict[str, str]] | None] | None = None
    received: list[Received] = field(default_factory=list)
    refused: list[Received] = field(default_factory=list)
    tls: Path | None = None
    refusal: str = "no thanks"
    url: str = ""

    def __post_init__(self) -> None:
        def make(_url: str) -> web.Application:
            app = web.Application(client_max_size=64 << 20)
            app.router.add_post("/{path:.*}", self._take)
            return app

        self.url = self.loop.serve(make, tls=self.tls) + "/"

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.received]

    async def _take(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        event = Received(headers, await request.read(), time.monotonic())
        answer = self.answers.pop(0) if self.answers else None
        if answer is None and self.decide is not None:
            answer = self.decide(event)
        if answer is not None and not 200 <= answer[0] < 300:
            self.refused.append(event)
            await asyncio.sleep(float(answer[1].pop("sleep", 0)))
            if answer[0] == 0:
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=answer[0] or 500, headers=answer[1], text=self.refusal)
        self.received.append(event)
        return web.Response(status=202)

    def hand_on(self, event: Received, url: str) -> int:
        """Send a recorded event to another sink; return its status."""
        kept = {
            n: v for n, v in event.headers.items() if n.startswith("ce-") or n == "content-type"
        }
        return requests.post(url, event.body, headers=kept, timeout=PATIENCE).status_code


class Producer:
    """The producer as a process, with its log."""

    def __init__(self, settings: dict[str, str]) -> None:
        path = os.pathsep.join(str(ROOT / part) for part in PATHS)
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG")
            or name.endswith("_BUNDLE")
            or name.startswith("SSL_")
        }
        # Longer than a test waits: who ends only then has not ended in time.
        grace = {"SHUTDOWN_GRACE_SECONDS": str(PATIENCE * 2)}
        self.settings = {"HOST": "127.0.0.1", "PORT": "0", **grace, **settings}
        self.log: list[dict[str, Any]] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "twitter_producer"],
            env={**kept, "PYTHONPATH": path, **self.settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self.log.append(json.loads(line))
            except ValueError:
                self.log.append({"message": line.rstrip(), "severity": "RAW"})

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def url(self) -> str:
        """The address of its own server."""
        started = self.saying("started")
        return f"http://127.0.0.1:{started['port']}"

    def messages(self) -> list[str]:
        return [entry["message"] for entry in self.log]

    def saying(self, part: str, timeout: float = PATIENCE) -> dict[str, Any]:
        """Return the first log entry whose message holds the text; wait for it."""
        return wait_for(
            lambda: next((e for e in self.log if part in e["message"]), None),
            timeout,
            lambda: f"no log line with {part!r} in {self.log}",
        )

    def wait(self, timeout: float = PATIENCE) -> int:
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.log}") from None
        self._reader.join(PATIENCE)
        return code

    def stop(self, timeout: float = PATIENCE) -> int:
        """Ask it to end, as Kubernetes does."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        if self.running:
            self._process.kill()
        self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)

    def resident_mib(self) -> float:
        """Return the memory in use now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")


@dataclass
class Kit:
    """Starts the parts of a test and stops them after it."""

    folder: Path
    loop: Loop = field(default_factory=Loop)
    producers: list[Producer] = field(default_factory=list)
    xs: list[X] = field(default_factory=list)

    def x(self, posts: Path | None = None) -> X:
        self.xs.append(X(self.loop, self.folder / f"x-{len(self.xs)}", posts))
        return self.xs[-1]

    def sink(self, **options: Any) -> Sink:
        return Sink(self.loop, **options)

    def producer(self, **settings: Any) -> Producer:
        """Start a producer with settings given in lower case."""
        given = {name.upper(): str(value) for name, value in settings.items()}
        producer = Producer(given)
        self.producers.append(producer)
        return producer

    def searching(self, x: X, sink: Sink, **settings: Any) -> dict[str, Any]:
        """Return settings for a producer that polls quickly, with user keys and a state file."""
        keys = {f"x_{name}": key for name, key in x.keys.items() if name != "bearer_token"}
        return {
            "k_sink": sink.url,
            "topics": "knative",
            "x_api_url": x.url,
            "poll_interval_seconds": 0.05,
            "backoff_seconds": 0.02,
            "state": "file",
            "state_file": self.folder / "state.json",
            **keys,
            **settings,
        }

    def close(self) -> None:
        for producer in self.producers:
            producer.kill()
        self.loop.close()


@contextmanager
def kit(folder: Path) -> Iterator[Kit]:
    """Give a kit for the time of a test."""
    made = Kit(folder)
    try:
        yield made
    finally:
        made.close()


def wait_for(
    condition: Callable[[], Any], timeout: float = PATIENCE, explain: Callable[[], str] = lambda: ""
) -> Any:
    """Return the condition's value as soon as it is true."""
    until = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"waited {timeout} s in vain. {explain()}")
        time.sleep(0.01)
    return value
