"""Watches: events, resuming, expiry, bookmarks, selectors, and what they cost."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from benchmarks._harness import resident_mib
from support.kube import api_server

from streamops_sandbox.kube.store import HISTORY


@pytest.fixture
def configmaps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def watch(cluster: Any, path: str, *, accept: str = "application/json", **query: Any):
    """Events until the server ends the watch (after timeoutSeconds)."""
    query = {"watch": "true", "timeoutSeconds": 5, **query}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(
            cluster.server.url + path,
            params=query,
            stream=True,
            timeout=60,
            verify=str(cluster.server.ca_file),
            headers={"Authorization": f"Bearer {cluster.token}", "Accept": accept},
        )
        assert answer.status_code == 200, answer.text
        yield from map(json.loads, answer.iter_lines())


def summary(events: Iterator[Any]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


def make(cluster: Any, path: str, name: str, **metadata: Any) -> Any:
    return cluster.call("POST", path, {"metadata": {"name": name, **metadata}})


def test_tells_what_happens_from_a_version_on(cluster, configmaps):
    start = cluster.call("GET", configmaps)["metadata"]["resourceVersion"]
    made = make(cluster, configmaps, "a")
    cluster.call("PUT", f"{configmaps}/a", {**made, "data": {"k": "v"}})
    events = watch(cluster, configmaps, resourceVersion=start)
    assert (next(events)["type"], next(events)["type"]) == ("ADDED", "MODIFIED")
    cluster.call("DELETE", f"{configmaps}/a")
    last = next(events)
    assert last["type"] == "DELETED"
    assert int(last["object"]["metadata"]["resourceVersion"]) > int(
        made["metadata"]["resourceVersion"]
    )
    assert list(events) == [], "and ends by itself"


def test_without_a_version_begins_with_what_there_is(cluster, configmaps):
    make(cluster, configmaps, "a")
    make(cluster, configmaps, "b")
    assert summary(watch(cluster, configmaps, timeoutSeconds=1)) == [("ADDED", "a"), ("ADDED", "b")]


def test_streaming_lists_end_with_a_bookmark(cluster, configmaps):
    make(cluster, configmaps, "a")
    first, mark = watch(
        cluster,
        configmaps,
        timeoutSeconds=1,
        sendInitialEvents="true",
        allowWatchBookmarks="true",
        resourceVersionMatch="NotOlderThan",
    )
    assert (first["type"], mark["type"]) == ("ADDED", "BOOKMARK")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.parametrize(
    ("query", "code", "message"),
    [
        ({"watch": "true", "resourceVersion": "now"}, 500, 'Invalid value: "now"'),
        ({"resourceVersion": "1", "resourceVersionMatch": "Most"}, 422, "Unsupported value"),
        ({"resourceVersionMatch": "Exact"}, 422, "forbidden unless resourceVersion is provided"),
        ({"resourceVersion": "99999999"}, 504, "Too large resource version"),
    ],
)
def test_versions_that_make_no_sense_are_refused(cluster, configmaps, query, code, message):
    assert message in cluster.call("GET", configmaps, code=code, **query)["message"]


def test_selected_objects_come_and_go(cluster, configmaps):
    start = cluster.call("GET", configmaps)["metadata"]["resourceVersion"]
    made = make(cluster, configmaps, "a")
    make(cluster, configmaps, "b", labels={"on": "yes"})
    made["metadata"]["labels"] = {"on": "yes"}
    made = cluster.call("PUT", f"{configmaps}/a", made)
    made = cluster.call("PUT", f"{configmaps}/a", {**made, "data": {"k": "v"}})
    made["metadata"]["labels"] = {"on": "no"}
    cluster.call("PUT", f"{configmaps}/a", made)
    cluster.call("DELETE", f"{configmaps}/a")
    events = watch(
        cluster, configmaps, resourceVersion=start, labelSelector="on=yes", timeoutSeconds=1
    )
    assert summary(events) == [
        ("ADDED", "b"),
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]


def test_one_name_only(cluster, configmaps):
    start = cluster.call("GET", configmaps)["metadata"]["resourceVersion"]
    make(cluster, configmaps, "a")
    make(cluster, configmaps, "b")
    events = watch(
        cluster,
        configmaps,
        resourceVersion=start,
        fieldSelector="metadata.name=b",
        timeoutSeconds=1,
    )
    assert summary(events) == [("ADDED", "b")]


def test_tables_can_be_watched(cluster, configmaps):
    make(cluster, configmaps, "a")
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
    (event,) = watch(cluster, configmaps, accept=accept, timeoutSeconds=1)
    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][:2] == ["a", 0]


def test_a_version_that_is_too_old_is_gone(empty_cluster):
    path = "/api/v1/namespaces/default/configmaps"
    made = make(empty_cluster, path, "a")
    for number in range(HISTORY + 1):
        empty_cluster.loop.run(_touch(empty_cluster.server, number))
    (event,) = watch(
        empty_cluster, path, resourceVersion=made["metadata"]["resourceVersion"], timeoutSeconds=5
    )
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert event["object"]["message"].startswith("too old resource version: ")


async def _touch(server: Any, number: int) -> None:
    store = server._context.api.store
    obj = store.collection("configmaps").get("default", "a").load()
    store.put("configmaps", {**obj, "data": {"n": str(number)}})


def test_clients_that_do_not_read_cost_no_memory(cluster, configmaps):
    """Everything there is goes to each watch at its beginning, but only as fast as it reads."""
    for number in range(100):
        body = {"metadata": {"name": f"big-{number}"}, "data": {"text": "x" * 100_000}}
        cluster.call("POST", configmaps, body)
    before = resident_mib(os.getpid())  # the server is in this process
    with ExitStack() as stack:
        watches = []
        for _ in range(60):  # of 10 MB each
            session = stack.enter_context(requests.Session())
            session.trust_env = False
            watches.append(
                session.get(
                    cluster.server.url + configmaps,
                    params={"watch": "true"},
                    stream=True,
                    timeout=60,
                    verify=str(cluster.server.ca_file),
                    headers={"Authorization": f"Bearer {cluster.token}"},
                )
            )
        assert resident_mib(os.getpid()) - before < 300
        names = [json.loads(line)["object"]["metadata"]["name"] for line in first(watches[-1], 100)]
        assert sorted(names) == sorted(f"big-{number}" for number in range(100))
        for answer in watches:
            answer.close()


def first(answer: requests.Response, count: int) -> list[bytes]:
    return list(itertools.islice(answer.iter_lines(chunk_size=65536), count))


def test_a_watch_that_begins_while_the_server_stops_does_not_keep_it(tmp_path: Path) -> None:
    """A connection may be in its handshake when everything else is told to end."""
    with api_server(tmp_path) as kube, ExitStack() as stack:
        user = yaml.safe_load(kube.kubeconfig.read_text())["users"][0]["user"]
        address = urllib.parse.urlsplit(kube.connect().transport.url)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        where = (address.hostname, address.port)
        head = f"Host: {address.netloc}\r\nAuthorization: Bearer {user['token']}\r\n"
        # The server waits two seconds for the rest of this one.
        busy = stack.enter_context(context.wrap_socket(socket.create_connection(where, 30)))
        busy.sendall(
            f"POST /api/v1/namespaces HTTP/1.1\r\n{head}Content-Length: 9\r\n\r\n".encode()
        )
        late = stack.enter_context(socket.create_connection(where, 30))
        time.sleep(0.5)
        os.kill(kube.pid, signal.SIGTERM)
        time.sleep(0.5)
        with suppress(ConnectionError, ssl.SSLError):  # which is how it may end
            watching = stack.enter_context(context.wrap_socket(late))
            watching.sendall(f"GET /api/v1/configmaps?watch=1 HTTP/1.1\r\n{head}\r\n".encode())
            while watching.recv(65536):
                pass
