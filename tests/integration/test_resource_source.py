"""The event source that watches Kubernetes objects, on an API server."""

from __future__ import annotations

import datetime
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.event_source import Source, until
from support.kube import REAL, Kube, Object, api_server, config_map, custom, definition, namespace

SETTINGS = {"api_version": "v1", "kind": "ConfigMap"}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        running.apply(definition("Thing"))
        yield running


@pytest.fixture
def ns(kube: Kube) -> str:
    name = f"test-{uuid4().hex[:8]}"
    kube.apply(namespace(name))
    return name


Watching = Callable[..., Source]


@pytest.fixture
def watch(kube: Kube, ns: str) -> Iterator[Watching]:
    started: list[Source] = []

    def start(**options: Any) -> Source:
        settings = {"kubeconfig": str(kube.kubeconfig), "namespace": ns, **SETTINGS, **options}
        started.append(Source("resource", **settings))
        return started[-1]

    yield start
    for source in started:
        source.stop()


def seen(source: Source) -> list[tuple[str, str]]:
    """Change and name of the events, but for what every namespace has."""
    if source.error:
        raise source.error
    return [
        (event["change"], event["name"])
        for event in source.events
        if event["name"] != "kube-root-ca.crt"
    ]


def sees(source: Source, *expected: tuple[str, str]) -> None:
    until(lambda: len(seen(source)) >= len(expected), f"{expected} are seen")
    assert seen(source) == list(expected)


def test_changes_with_the_object_before_and_after(kube: Kube, ns: str, watch: Watching) -> None:
    kube.apply(config_map("one", ns, a="1"))
    source = watch()
    sees(source, ("ADDED", "one"))
    kube.apply(config_map("one", ns, a="2"))
    sees(source, ("ADDED", "one"), ("MODIFIED", "one"))
    resource = kube.client.resource("v1", "ConfigMap")
    kube.client.delete(resource, "one", ns)
    sees(source, ("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one"))
    added, modified, deleted = [e for e in source.events if e["name"] == "one"]
    assert (added["old"], added["new"]["data"]) == (None, {"a": "1"})
    assert (modified["old"]["data"], modified["new"]["data"]) == ({"a": "1"}, {"a": "2"})
    assert (deleted["old"]["data"], deleted["new"]) == ({"a": "2"}, None)
    assert "managedFields" not in added["new"]["metadata"]
    assert {e["namespace"] for e in source.events} == {ns}


def test_selectors_and_changes(kube: Kube, ns: str, watch: Watching) -> None:
    labelled = config_map("labelled", ns)
    labelled["metadata"]["labels"] = {"app": "x"}
    kube.apply(labelled)
    by_label = watch(label_selectors=["app=x"])
    by_name = watch(name="plain", changes=["DELETED"])
    sees(by_label, ("ADDED", "labelled"))
    resource = kube.client.resource("v1", "ConfigMap")
    kube.client.delete(resource, "labelled", ns)

    def is_deleted() -> bool:
        kube.apply(config_map("plain", ns))
        kube.client.delete(resource, "plain", ns)
        return bool(seen(by_name))

    until(is_deleted, "a deletion after the watch began is seen")
    sees(by_label, ("ADDED", "labelled"), ("DELETED", "labelled"))
    assert set(seen(by_name)) == {("DELETED", "plain")}


def test_objects_that_are_there_need_not_be_events(kube: Kube, ns: str, watch: Watching) -> None:
    kube.apply(config_map("old", ns))
    source = watch(existing=False)
    numbers = itertools.count()

    def is_seen() -> bool:
        kube.apply(config_map(f"new-{next(numbers)}", ns))
        return bool(seen(source))

    until(is_seen, "an object made after the watch began is seen")
    assert all(name.startswith("new-") for _change, name in seen(source))


def test_a_restart_goes_on_where_it_was(
    kube: Kube, ns: str, watch: Watching, tmp_path: Path
) -> None:
    resource = kube.client.resource("v1", "ConfigMap")
    kube.apply(config_map("stays", ns), config_map("goes", ns), config_map("changes", ns, a="1"))
    state = tmp_path / "state.db"
    first = watch(state_file=str(state))
    until(lambda: len(seen(first)) == 3, "all are seen")
    first.stop()
    assert state.stat().st_mode & 0o777 == 0o600
    kube.client.delete(resource, "goes", ns)
    kube.apply(config_map("changes", ns, a="2"), config_map("comes", ns))
    second = watch(state_file=str(state))
    until(lambda: len(seen(second)) == 3, "what changed meanwhile is seen")
    assert sorted(seen(second)) == [
        ("ADDED", "comes"),
        ("DELETED", "goes"),
        ("MODIFIED", "changes"),
    ]
    assert {e["name"]: e["old"] and e["old"].get("data") for e in second.events}["changes"] == {
        "a": "1"
    }


@pytest.mark.skipif(bool(REAL), reason="etcd is not compacted as fast there")
def test_a_version_that_expired_is_made_up_for_by_comparison(
    kube: Kube, ns: str, watch: Watching, tmp_path: Path
) -> None:
    resource = kube.client.resource("v1", "ConfigMap")
    kube.apply(config_map("stays", ns), config_map("goes", ns))
    state = str(tmp_path / "state.db")
    first = watch(state_file=state)
    until(lambda: len(seen(first)) == 2, "both are seen")
    first.stop()
    kube.client.delete(resource, "goes", ns)
    for number in range(1100):  # the last 1,000 changes can be resumed from
        body: Object = {"data": {"n": str(number)}}
        kube.client.patch(resource, "stays", ns, body)
    second = watch(state_file=state)
    until(lambda: len(seen(second)) == 2, "the difference is seen")
    assert sorted(seen(second)) == [("DELETED", "goes"), ("MODIFIED", "stays")]


def thing(name: str, ns: str, status: str) -> Object:
    obj = custom("Thing", name, ns)
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": "Ready", "status": status, "lastTransitionTime": since}
    return {**obj, "status": {"conditions": [{**condition, "message": "no sink", "reason": "No"}]}}


def test_what_stays_unready_is_an_event_once(kube: Kube, ns: str, watch: Watching) -> None:
    source = watch(
        api_version="example.com/v1", kind="Thing", changes=["NOT_READY"], not_ready_seconds=5
    )
    for name in ("stuck", "quick"):
        obj = thing(name, ns, "False")
        kube.apply({k: v for k, v in obj.items() if k != "status"})
        kube.set_status(obj, obj["status"])
    quick = thing("quick", ns, "True")
    kube.set_status(quick, quick["status"])
    sees(source, ("NOT_READY", "stuck"))
    assert "no sink" in source.events[0]["reason"]
    assert source.events[0]["ready"] is False
    time.sleep(5.5)  # by now the other one would have been an event
    sees(source, ("NOT_READY", "stuck"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kind": "ConfigMapp"}, "Did you mean"),
        ({"kind": None}, "kind"),
        ({"kubeconfig": "/nowhere"}, "no such file: /nowhere"),
        ({"changes": ["CHANGED"]}, "CHANGED"),
        ({"selector": "x"}, "not an option"),
        ({"state_file": "/nowhere/state.db"}, "state_file /nowhere/state.db cannot be used"),
        ({"max_objects": 0}, "max_objects is 0"),
    ],
)
def test_a_wrong_option_is_named(watch: Watching, options: dict[str, Any], words: str) -> None:
    assert words in str(watch(**options).ended())


def test_too_many_objects_are_an_error(kube: Kube, ns: str, watch: Watching) -> None:
    kube.apply(*(config_map(f"c{n}", ns) for n in range(3)))
    assert "more than 2 objects match" in str(watch(max_objects=2).ended())
