"""API servers that hiccup: runs end right or with one sentence, and `changed` is the truth."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from support.faults import AFTER, AWAY, BEFORE, Faults, faulty
from support.kube import (
    Kube,
    Object,
    Outcome,
    api_server,
    config_map,
    custom,
    definition,
    namespace,
)

from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes import transport
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply_task import TASK
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.modules import resource_info

#: FAULT_ROUNDS=300 for a long run.
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "40"))
SHARE = 0.2
PARTS = 4
MODULE = "ansible_collections.streamops.knative.plugins.module_utils._kubernetes"


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        running.apply(definition("Thing"))
        yield running


@pytest.fixture
def ns() -> str:
    return f"test-{uuid4().hex[:8]}"


def retries(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Have clients retry with these settings, and with short pauses."""
    made = functools.partial(Retries, pause=0.01, longest_pause=0.05, **settings)
    monkeypatch.setattr(transport, "Retries", made)


def through(kube: Kube, url: str, task: Any = TASK, **options: Any) -> Outcome:
    """Run a task through a proxy."""
    defaults: dict[str, Any] = {"request_timeout": 1.0}
    if task is TASK:
        defaults |= {"wait": False, "retry_timeout": 5, "wait_timeout": 5}
    return kube.run(task, **{**defaults, "host": url, "kubeconfig": None, **options})


def facts(kube: Kube, name: str) -> dict[str, str]:
    """What is stored of a bundle: resource versions by kind and name."""
    client = kube.connect()
    found = {}
    for api_version, kind in (("v1", "ConfigMap"), ("v1", "Secret"), ("v1", "ServiceAccount")):
        for obj in client.list(client.resource(api_version, kind), name):
            if obj["metadata"]["name"] not in ("kube-root-ca.crt", "default"):
                found[f"{kind} {obj['metadata']['name']}"] = obj["metadata"]["resourceVersion"]
    return found


def bundle(name: str, value: str) -> list[Object]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "secret", "namespace": name},
        "stringData": {"value": value},
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": f"account-{value}", "namespace": name},
    }
    return [account, *(config_map(f"map-{n}", name, value=value) for n in range(4)), secret]


def steps(name: str) -> Iterator[dict[str, Any]]:
    """The options of runs one after the other: create, change with pruning, delete."""
    common = {"apply_set": name, "prune": True, "wait_timeout": 5}
    yield {"definitions": bundle(name, "one"), "wait": False, **common}
    yield {"definitions": bundle(name, "two")[:-1], "wait": True, **common}
    yield {"state": "absent", "definitions": bundle(name, "two"), "wait": True, **common}


@pytest.mark.parametrize("part", range(PARTS))
def test_faults_at_every_step_of_apply(
    kube: Kube, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for number in range(part, ROUNDS, PARTS):
        name = f"fault-{number}-{uuid4().hex[:6]}"
        kube.apply(namespace(name))
        chosen = Faults(number, SHARE)
        # Every other round gives up soon, so that there are failed runs to look at.
        retries(monkeypatch, attempts=1 if number % 2 else 20)
        with faulty(kube.kubeconfig, chosen) as url:
            for options in steps(name):
                before = facts(kube, name)
                run = functools.partial(through, kube, url, **options)
                outcome, changed, in_doubt = ended(run)
                outcomes[outcome] += 1
                differs = facts(kube, name) != before
                assert changed or not differs, f"round {number}: changed, and did not say so"
                assert differs or not changed or in_doubt, f"round {number}: nothing was changed"
                # Without faults it converges.
                again, once_more = (kube.run(TASK, **options).result for _ in range(2))
                assert outcome != "right" or not again["changed"], (number, again)
                assert not once_more["changed"], (number, once_more)
        faults += chosen.counts
    print(f"\n{sum(outcomes.values())} runs: {dict(outcomes)}; faults: {dict(faults)}")
    assert sum(faults.values()) > 0


def ended(run: Callable[[], Outcome]) -> tuple[str, bool, bool]:
    """How a run ended, whether it reports a change, and whether an answer to a write was lost."""
    try:
        return "right", run().result["changed"], False
    except TaskError as error:
        message = str(error)
        assert re.search(r"[a-z]{3}", message)
        assert "Traceback" not in message
        return "refused", bool(error.result.get("changed")), True


@pytest.mark.parametrize("fault", [*BEFORE, *(name for name in AFTER if name != "answer delayed")])
def test_one_fault_at_each_request_does_not_fail_a_run(
    kube: Kube, ns: str, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    retries(monkeypatch)
    for where in ("GET /apis", "GET /api/v1/namespaces", "PATCH ", "DELETE "):
        spoiled: list[str] = []

        def once(method: str, path: str, where: str = where, spoiled: list[str] = spoiled) -> str:
            if spoiled or not f"{method} {path}".startswith(where):
                return ""
            spoiled.append(path)
            return fault

        with faulty(kube.kubeconfig, once) as url:
            made = through(kube, url, definitions=[config_map(ns)])
            gone = through(kube, url, definitions=[config_map(ns)], state="absent", wait=True)
        assert (made.result["changed"], gone.result["changed"]) == (True, True), where
        assert spoiled, where


def test_waiting_survives_an_api_server_that_is_away(
    kube: Kube, ns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries(monkeypatch, attempts=0)
    state = {"written": False, "failed": 0}

    def away(method: str, path: str) -> str:
        state["written"] = state["written"] or (method == "PATCH" and "dryRun" not in path)
        if method == "GET" and state["written"] and state["failed"] < 6:
            state["failed"] += 1
            return ("dropped", "503", "502 page")[state["failed"] % 3]
        if state["failed"] == 6:
            state["failed"] += 1
            kube.set_status(thing, {"conditions": [{"type": "Ready", "status": "True"}]})
        return ""

    thing = custom("Thing", ns)
    with faulty(kube.kubeconfig, away) as url:
        outcome = through(kube, url, definitions=[thing], wait=True, wait_timeout=60)
    assert outcome.result["changed"]
    assert state["failed"] == 7


def test_a_server_that_stays_away_is_named_when_the_wait_ends(
    kube: Kube, ns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    retries(monkeypatch, attempts=0)
    written: list[str] = []

    def away(method: str, path: str) -> str:
        if method == "PATCH" and "dryRun" not in path:
            written.append(path)
            return ""
        return "503" if written else ""

    with faulty(kube.kubeconfig, away) as url, pytest.raises(TaskError) as late:
        through(kube, url, definitions=[custom("Thing", ns)], wait=True, wait_timeout=0.5)
    assert "the API server does not answer" in str(late.value)
    assert AWAY[2].decode() not in str(late.value)
    assert late.value.result["changed"] is True


def test_a_list_whose_pages_expired_is_read_again(
    kube: Kube, ns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}.client.PAGE", 2)
    kube.apply(namespace(ns), *[config_map(f"map-{number}", ns) for number in range(5)])
    client = kube.connect()
    request = client.transport.request
    expired: list[str] = []

    def compacted(method: str, path: str, *, query: Any = None, **options: Any) -> Any:
        if query and "continue" in query and not expired:
            expired.append(path)
            body = {"message": "The provided continue parameter is too old", "reason": "Expired"}
            raise transport.ApiError(410, body, path)
        return request(method, path, query=query, **options)

    monkeypatch.setattr(client.transport, "request", compacted)
    names = [obj["metadata"]["name"] for obj in client.list(client.resource("v1", "ConfigMap"), ns)]
    assert sorted(set(names) - {"kube-root-ca.crt"}) == [f"map-{number}" for number in range(5)]
    assert len(names) == len(set(names))
    assert expired


def test_reading_goes_through_faults(kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    retries(monkeypatch)
    for seed in range(5):
        with faulty(kube.kubeconfig, Faults(seed, 0.4)) as url:
            outcome = through(kube, url, resource_info.TASK, kind="Namespace", name="default")
        assert [item["metadata"]["name"] for item in outcome.result["resources"]] == ["default"]
