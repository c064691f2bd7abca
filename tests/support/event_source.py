"""Event source plugins at work: in this process with a queue of ours, or in ansible-rulebook."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import runpy
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import requests
import yaml
from support.ports import free_port
from support.site import ROOT

PLUGINS = ROOT / ".collections/ansible_collections/streamops/knative/extensions/eda/plugins"
BINARY = {
    "content-type": "application/json",
    "ce-specversion": "1.0",
    "ce-source": "/test",
    "ce-type": "com.example.test",
}
STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}


def until(condition: Callable[[], Any], what: str, seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.05)
    return found


def plugin(name: str) -> dict[str, Any]:
    """What ansible-rulebook has of a plugin: the names that running its file defines."""
    return runpy.run_path(str(PLUGINS / "event_source" / f"{name}.py"))


class Source:
    """A plugin running in a thread; `events` is what it put into the queue.

    While `room` is not set the queue is full, and what is `offered` waits. `error` is what `main` raised.
    """

    def __init__(self, plugin_name: str, /, **options: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.offered: list[dict[str, Any]] = []
        self.room = threading.Event()
        self.room.set()
        self.error: BaseException | None = None
        self.feedback: asyncio.Queue[Any] | None = None
        self.loop = asyncio.new_event_loop()
        self._main = plugin(plugin_name)["main"]
        self._options = options
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    async def put(self, event: Any) -> None:
        self.offered.append(event)
        while not self.room.is_set():  # noqa: ASYNC110 - set from another thread
            await asyncio.sleep(0.01)
        self.events.append(event)

    async def _serve(self) -> None:
        options = dict(self._options)
        if options.get("feedback"):
            options["eda_feedback_queue"] = self.feedback = asyncio.Queue(1)
        await self._main(self, options)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self._task = self.loop.create_task(self._serve())
        try:
            self.loop.run_until_complete(self._task)
        except BaseException as error:
            self.error = error

    def give_feedback(self, event: dict[str, Any]) -> None:
        """Tell the source that the rule engine has taken an event."""
        assert self.feedback is not None
        asyncio.run_coroutine_threadsafe(self.feedback.put(event), self.loop).result(60)

    def ended(self) -> BaseException | None:
        """Wait until `main` has ended; return what it raised."""
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error

    def stop(self) -> None:
        if self._thread.is_alive():
            self.loop.call_soon_threadsafe(self._task.cancel)
        self.ended()


class Receiver(Source):
    """The source of CloudEvents, on a port of its own."""

    def __init__(self, **options: Any) -> None:
        self.port = options.setdefault("port", free_port())
        self.address = ("127.0.0.1", self.port)
        self.url = f"http://127.0.0.1:{self.port}/"
        self.http = requests.Session()
        self.http.trust_env = False
        super().__init__("cloudevents", **options)
        until(self._is_up, "the source listens")

    def _is_up(self) -> bool:
        if self.error:
            raise self.error
        with contextlib.suppress(OSError):
            socket.create_connection(self.address, 1).close()
            return True
        return False

    def post(
        self, identity: str = "1", data: Any = b"{}", headers: Any = None, **more: str
    ) -> requests.Response:
        """Send an event in binary mode, or whatever `headers` say."""
        fields = {**BINARY, "ce-id": identity} if headers is None else headers
        return self.http.post(self.url, data=data, headers={**fields, **more}, timeout=60)

    def raw(self, message: bytes) -> bytes:
        with socket.create_connection(self.address, 60) as connection:
            connection.sendall(message)
            connection.settimeout(60)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        return answer


@contextlib.contextmanager
def receiver(**options: Any) -> Iterator[Receiver]:
    running = Receiver(**options)
    try:
        yield running
    finally:
        running.room.set()
        running.stop()


class Rulebook:
    """ansible-rulebook as a process; `output` is all that it has printed, over its restarts."""

    def __init__(self, folder: Path, rulebook: Any, *arguments: str, **variables: Any) -> None:
        self.folder = folder
        if isinstance(rulebook, list):
            path = folder / "rulebook.yml"
            path.write_text(yaml.safe_dump(rulebook, sort_keys=False))
            rulebook = str(path)
        (folder / "variables.yml").write_text(yaml.safe_dump(variables))
        self._log = folder / "rulebook.log"
        self._command = ["ansible-rulebook", "--rulebook", rulebook, *arguments]
        self._command += ["--vars", str(folder / "variables.yml")]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_HOME": str(self.folder / "ansible"),
            "PYTHONUNBUFFERED": "1",  # what was printed before it is killed counts
            "JAVA_TOOL_OPTIONS": "-Xrs",
            **environment,
        }
        with self._log.open("ab") as log:
            # Ansible refuses a stdin that does not block, as another child of this process may have left it.
            self.process = subprocess.Popen(
                self._command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 150) -> str:
        """Return what first matches in the output."""

        def look() -> Any:
            found = re.search(pattern, self.output)
            assert found or self.process is None or self.process.poll() is None, self.output
            return found

        return str(until(look, f"{pattern} in the rulebook's output", seconds).group())

    def ended(self, seconds: float = 100) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(90)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
