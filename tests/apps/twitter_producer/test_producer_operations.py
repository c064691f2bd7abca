"""Alive, ready, and what the log says: what operators and kubelets see."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys

import pytest
import requests
from support.producer import PATHS, PATIENCE, ROOT, Kit, wait_for
from support.producer import Producer as Process

from twitter_producer import settings, stores
from twitter_producer.producer import Producer
from twitter_producer.shutdown import Heartbeat, Shutdown

BUG = """
import sys
from twitter_producer import application
from twitter_producer.shutdown import Shutdown

def _work(*_):
    raise LookupError("nobody thought of this")

application._work = _work
sys.exit(application.run(Shutdown()))
"""


class _Noted(Heartbeat):
    """Keeps what was promised."""

    def __init__(self) -> None:
        super().__init__()
        self.promises: list[float] = []

    def beat(self, within: float = 0.0) -> None:
        self.promises.append(within)
        super().beat(within)


def test_it_stays_alive_while_x_is_slow_at_each_of_many_pages(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, sink = kit.x(), kit.sink()
    x.publish_many(60)
    given = kit.searching(x, sink, max_results=10, run_once="true")
    for name, value in given.items():
        monkeypatch.setenv(name.upper(), str(value))
    loaded, stop, heartbeat = settings.load(), Shutdown(), _Noted()
    producer = Producer(loaded, stores.store(loaded, None), stop, heartbeat)
    assert producer.run() == 0
    assert len(sink.received) == 60
    longest = loaded.x_timeout_seconds * 2
    assert len([p for p in heartbeat.promises if p >= longest]) > 6, "one for each page, at least"


def test_what_nobody_thought_of_is_told_as_json() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUG],
        env={
            "PYTHONPATH": str(ROOT / PATHS[1]),
            "K_SINK": "http://sink",
            "TOPICS": "knative",
            "X_BEARER_TOKEN": "b",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    entry = json.loads(done.stdout)
    assert entry["severity"] == "CRITICAL"
    assert "LookupError: nobody thought of this" in entry["exception"]


def test_client_that_hangs_up_leaves_no_traceback(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink))
    port = int(producer.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert requests.get(f"{producer.url}/healthz", timeout=PATIENCE).status_code == 200
    assert producer.stop() == 0
    assert not [e for e in producer.log if e["severity"] == "RAW"]


UNUSABLE = [
    b"[" * 4000,
    b'{"id": "a\\u0000"}',
    b'{"id": "\\ud83d"}',
    b'{"id": {"a": 1}}',
    b'{"id": "' + b"x" * 300 + b'"}',
    b"\xff",
    b"",
]


def test_probes_that_have_no_usable_id_are_refused(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink))
    answers = [
        requests.post(producer.url + "/probe", data=body, timeout=PATIENCE) for body in UNUSABLE
    ]
    assert [answer.status_code for answer in answers] == [400] * len(UNUSABLE)
    assert not sink.received


def test_idle_connections_do_not_keep_probes_from_being_answered(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink))
    port = int(producer.url.rsplit(":", 1)[1])
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        wait_for(lambda: _answers(producer))
        assert producer.resident_mib() < 90
    finally:
        for connection in idle:
            connection.close()


def _answers(producer: Process) -> bool:
    try:
        return requests.get(f"{producer.url}/healthz", timeout=PATIENCE).status_code == 200
    except requests.RequestException:
        return False


def test_it_listens_where_there_is_only_ipv6(kit: Kit) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    x, sink = kit.x(), kit.sink()
    producer = kit.producer(**kit.searching(x, sink, host="::1"))
    port = producer.saying("started")["port"]
    wait_for(
        lambda: requests.get(f"http://[::1]:{port}/readyz", timeout=PATIENCE).status_code == 200
    )
