"""API servers that hiccup: runs end right or with one sentence, and `changed` is the truth."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import yaml
from support.faults import AFTER, AWAY, BEFORE, Faults, faulty
from support.http_server import serving
from support.kube import (
    Kube,
    Object,
    Outcome,
    api_server,
    config_map,
    custom,
    definition,
    deployment,
    namespace,
)

from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries
from ansible_collections.streamops.knative.plugins.module_utils._knative.sink_binding import WEBHOOK
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes import transport
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Task
from ansible_collections.streamops.knative.plugins.modules import (
    event_probe,
    knative_info,
    resource_info,
    sink_binding,
)
from ansible_collections.streamops.knative.plugins.modules import knative as knative_module
from ansible_collections.streamops.knative.plugins.modules.apply import TASK
from streamops_sandbox.knative import release

#: FAULT_ROUNDS=300 for a long run. A round is three runs of apply, or seven of the other modules.
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "12"))
SETS = {"apply": ROUNDS, "others": ROUNDS * 3 // 5}
SHARE = 0.2

pytestmark = pytest.mark.timeout(120 + 10 * ROUNDS)
PARTS = 4
MODULE = "ansible_collections.streamops.knative.plugins.module_utils._kubernetes"


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        running.apply(definition("Thing"), *knative())
        running.set_status(KOURIER, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})
        yield running


KOURIER: Object = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "kourier", "namespace": "kourier-system"},
    "spec": {"type": "LoadBalancer", "ports": [{"name": "http2", "port": 80}]},
}


def knative() -> list[Object]:
    """What the modules look for of Knative; nobody acts on it here."""
    text = release.render("knative/eventing", "1.22.2", "eventing-crds") or ""
    (binding,) = (
        crd
        for crd in yaml.safe_load_all(text)
        if crd and crd["metadata"]["name"] == "sinkbindings.sources.knative.dev"
    )
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "resources": ["deployments"],
        "operations": ["DELETE"],
    }
    webhook = {
        "name": WEBHOOK,
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": WEBHOOK},
        "webhooks": [webhook],
    }
    return [binding, configuration, namespace("kourier-system"), KOURIER]


class App(http.server.BaseHTTPRequestHandler):
    """Producer and viewer in one: it answers a probe, and shows those it was asked for."""

    protocol_version = "HTTP/1.1"
    probes: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        record = {"event": {"id": body["id"]}, "received": "2026-01-01T00:00:00Z"}
        type(self).probes = [record, *self.probes[:50]]
        self.answer({"sink": "http://sink", "status": 202})

    def do_GET(self) -> None:
        self.answer({"events": self.probes, "total": len(self.probes)})

    def answer(self, value: Object) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def probed(kube: Kube) -> Iterator[dict[str, Any]]:
    """The options of event_probe for a pod that runs."""
    with serving(App) as server:
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "app", "namespace": "probed", "labels": {"app": "app"}},
            "spec": {"containers": [{"name": "main", "image": "example.com/app:1"}]},
        }
        account = {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "probed"},
        }
        kube.apply(namespace("probed"), account, pod)
        ready = {"type": "Ready", "status": "True"}
        kube.set_status(pod, {"phase": "Running", "podIP": "127.0.0.1", "conditions": [ready]})
        yield {
            "namespace": "probed",
            "producer_labels": {"app": "app"},
            "producer_port": server.server_port,
            "viewer_labels": {"app": "app"},
            "viewer_port": server.server_port,
            "timeout": 5,
        }


@pytest.fixture
def ns() -> str:
    return f"test-{uuid4().hex[:8]}"


def retries(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Have clients retry with these settings, and with short pauses."""
    made = functools.partial(Retries, pause=0.01, longest_pause=0.05, **settings)
    monkeypatch.setattr(transport, "Retries", made)


def through(kube: Kube, url: str, task: Any = TASK, **options: Any) -> Outcome:
    """Run a task through a proxy."""
    defaults: dict[str, Any] = {"request_timeout": 20.0}
    if task is TASK:
        defaults |= {"wait": False, "retry_timeout": 30, "wait_timeout": 30}
    return kube.run(task, **{**defaults, "host": url, "kubeconfig": None, **options})


def facts(kube: Kube, name: str) -> dict[str, str]:
    """What is stored of a bundle: resource versions by kind and name."""
    client = kube.connect()
    found = {}
    for api_version, kind in (
        ("v1", "ConfigMap"),
        ("v1", "Secret"),
        ("v1", "ServiceAccount"),
        ("sources.knative.dev/v1", "SinkBinding"),
    ):
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


Step = tuple[Task, dict[str, Any]]


def steps_of_apply(_kube: Kube, name: str) -> Iterator[Step]:
    """Runs one after the other: create, change with pruning, delete."""
    common = {"apply_set": name, "prune": True, "wait_timeout": 30}
    yield TASK, {"definitions": bundle(name, "one"), "wait": False, **common}
    yield TASK, {"definitions": bundle(name, "two")[:-1], "wait": True, **common}
    yield TASK, {"state": "absent", "definitions": bundle(name, "two"), "wait": True, **common}


def binding(name: str, **options: Any) -> Step:
    """A run of sink_binding, for the Deployment `app`."""
    subject = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "app"}
    given = {"subject": subject, "sink": {"uri": URI}, "timeout": 30, **options}
    return sink_binding.TASK, {"name": "b", "namespace": name, **given}


URI = "http://sink.example.com"
GATEWAY = (knative_info.TASK, {"wait_timeout": 30.0})


def steps_of_the_others(kube: Kube, name: str, probed: dict[str, Any]) -> Iterator[Step]:
    """Runs of the other modules; `kube` is told what controllers would write."""
    yield binding(name, sink={"uri": "http://other.example.com"}, wait_for="webhook")
    bind(kube, name)
    yield binding(name)
    yield GATEWAY
    yield event_probe.TASK, probed
    yield resource_info.TASK, {"kind": "ServiceAccount", "namespace": name}
    yield knative_module.TASK, {"state": "absent", "wait_timeout": 30.0}
    yield sink_binding.TASK, {"name": "b", "namespace": name, "state": "absent", "timeout": 30}


def bind(kube: Kube, name: str) -> None:
    """Bind the Deployment `app` as Knative does."""
    app = deployment("app", name)
    app["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "K_SINK", "value": URI}]
    kube.apply(app)
    task, options = binding(name, wait_for="nothing")
    kube.run(task, **options)
    made = kube.get("sources.knative.dev/v1", "SinkBinding", "b", name)
    assert made
    provided = {
        "type": "SinkProvided",
        "status": "True",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {
        "sinkUri": URI,
        "observedGeneration": made["metadata"]["generation"],
        "conditions": [provided],
    }
    kube.set_status(made, status)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("modules", SETS)
def test_faults_at_every_step(
    kube: Kube,
    probed: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    modules: str,
    part: int,
) -> None:
    faults: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for number in range(part, SETS[modules], PARTS):
        name = f"fault-{number}-{uuid4().hex[:6]}"
        kube.apply(namespace(name))
        chosen = Faults(number, SHARE)
        # Every other round gives up soon, so that there are failed runs to look at.
        retries(monkeypatch, attempts=1 if number % 2 else 20)
        steps = (
            steps_of_apply(kube, name)
            if modules == "apply"
            else steps_of_the_others(kube, name, probed)
        )
        with faulty(kube.kubeconfig, chosen) as url:
            for task, options in steps:
                before = facts(kube, name)
                run = functools.partial(through, kube, url, task, request_timeout=1.0, **options)
                outcome, changed, in_doubt = ended(run)
                outcomes[outcome] += 1
                differs = facts(kube, name) != before
                assert changed or not differs, f"round {number}: changed, and did not say so"
                assert differs or not changed or in_doubt, f"round {number}: nothing was changed"
                # Without faults it converges.
                again, once_more = (kube.run(task, **options).result for _ in range(2))
                assert outcome != "right" or not again["changed"], (number, again)
                assert not once_more["changed"], (number, once_more)
        faults += chosen.counts
    print(f"\n{modules}: {sum(outcomes.values())} runs: {dict(outcomes)}; faults: {dict(faults)}")
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


@pytest.mark.parametrize("wait", ["apply", "delete", "bind", "unbind", "gateway", "probe", "found"])
def test_waiting_survives_an_api_server_that_is_away(
    kube: Kube, ns: str, probed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, wait: str
) -> None:
    """For longer than requests are sent again, and until what is waited for is there."""
    retries(monkeypatch, seconds=0.2)
    thing, leaving = custom("Thing", ns), config_map("leaving", ns)
    kube.apply(namespace(ns))
    waits: dict[str, tuple[Task, dict[str, Any], str]] = {
        # the run, and the request after which the API server is away
        "apply": (TASK, {"definitions": [thing], "wait": True, "wait_timeout": 60}, "PATCH"),
        "delete": (TASK, {"state": "absent", "definitions": [leaving], "wait": True}, "DELETE"),
        "bind": (*binding(ns, timeout=60), "PATCH"),
        "unbind": (sink_binding.TASK, {"name": "b", "namespace": ns, "state": "absent"}, "DELETE"),
        "gateway": (knative_info.TASK, {"wait_timeout": 60.0}, "GET /apis"),
        "probe": (event_probe.TASK, {**probed, "timeout": 60}, "GET /apis"),
        "found": (event_probe.TASK, {**probed, "timeout": 60}, "POST"),
    }
    task, options, trigger = waits[wait]
    if wait == "delete":
        kube.apply(leaving)
    elif wait == "unbind":
        bind(kube, ns)
    began: list[float] = []
    failed: Counter[str] = Counter()

    def away(method: str, path: str) -> str:
        if not began:
            if f"{method} {path}".startswith(trigger) and "dryRun" not in path:
                began.append(time.monotonic())
            return ""
        if time.monotonic() - began[0] < 1.5 or len(failed) < 3:
            fault = ("dropped", "503", "502 page")[failed.total() % 3]
            failed[fault] += 1
            return fault
        if len(began) == 1:
            began.append(0)
            if wait == "apply":
                kube.set_status(thing, {"conditions": [{"type": "Ready", "status": "True"}]})
            elif wait == "bind":
                bind(kube, ns)
        return ""

    with faulty(kube.kubeconfig, away) as url:
        outcome = through(kube, url, task, **options)
    assert outcome.result["changed"] is (wait in ("apply", "delete", "bind", "unbind"))
    assert len(failed) == 3


def test_a_binding_that_was_written_is_a_change_though_waiting_for_it_fails(
    kube: Kube, ns: str
) -> None:
    kube.apply(namespace(ns))
    task, options = binding(ns, timeout=0.5)
    for changed in (True, False):
        with pytest.raises(TaskError, match=r"is not effective after 0\.5 s") as failed:
            kube.run(task, **options)
        assert failed.value.result["changed"] is changed


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
            asked = {"kind": "Namespace", "name": "default", "request_timeout": 1.0}
            outcome = through(kube, url, resource_info.TASK, **asked)
        assert [item["metadata"]["name"] for item in outcome.result["resources"]] == ["default"]
