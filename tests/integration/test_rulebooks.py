"""The collection's rulebooks and event sources in the real ansible-rulebook."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from ansible_rulebook.validators import Validate
from support.event_source import BINARY, Rulebook, until
from support.kube import Kube, api_server, cluster, custom, definition, eventing_release, namespace
from support.ports import free_port
from support.site import ROOT

pytestmark = [pytest.mark.needs("java"), pytest.mark.timeout(400)]

#: RULEBOOK_KILLS=20 RULEBOOK_EVENTS=2000 for the long run.
KILLS = int(os.environ.get("RULEBOOK_KILLS", "3"))
EVENTS = int(os.environ.get("RULEBOOK_EVENTS", "200"))
RULEBOOKS = ROOT / "extensions" / "eda" / "rulebooks"
#: Writes down what started it.
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.copy:
        dest: "{{ done }}/done-{{ ansible_eda.event.meta.uuid }}.json"
        content: "{{ ansible_eda.event | to_json }}"
    - ansible.builtin.debug:
        msg: "text is {{ (ansible_eda.event.data | default({})).text | default('') }}"
"""

Start = Callable[..., Rulebook]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts rulebooks, by name or content, with an inventory of this machine."""
    inventory = tmp_path / "inventory.yml"
    host = {"ansible_connection": "local", "ansible_python_interpreter": shutil.which("python")}
    host["done"] = str(tmp_path)
    inventory.write_text(json.dumps({"all": {"hosts": {"here": host}}}))
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "playbook.yml").write_text(PLAYBOOK)
    started: list[Rulebook] = []

    def run(rulebook: Any, *arguments: str, **variables: Any) -> Rulebook:
        arguments = ("--inventory", str(inventory), *arguments)
        started.append(Rulebook(tmp_path, rulebook, *arguments, **variables))
        started[-1].start()
        return started[-1]

    yield run
    for one in started:
        one.stop()


def rules(source: dict[str, Any], condition: str = "event.id is defined", **action: Any) -> Any:
    """A rulebook of one rule."""
    chosen = action or {"debug": {"msg": "ACTED {{ event.id }}"}}
    rule = {"name": "rule", "condition": condition, "action": chosen}
    return [{"name": "test", "hosts": "all", "sources": [source], "rules": [rule]}]


def events(port: int, **options: Any) -> dict[str, Any]:
    return {
        "name": "events",
        "streamops.knative.cloudevents": {"host": "127.0.0.1", "port": port, **options},
    }


def listening(rulebook: Rulebook, port: int) -> None:
    def look() -> bool:
        assert rulebook.process is None or rulebook.process.poll() is None, rulebook.output
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    until(look, "the rulebook listens", 150)


def send(url: str, identity: str, text: str = "", **headers: str) -> int:
    fields = {**BINARY, "ce-id": identity, **headers}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, json={"text": text}, headers=fields, timeout=60)
    return answer.status_code


def done(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("done-*.json"))]


# The rulebooks to start from


def test_a_post_that_matches_starts_a_playbook(start: Start, tmp_path: Path) -> None:
    port = free_port()
    rulebook = start(
        "streamops.knative.posts",
        *("--id", "1", "--persistence-id", "posts"),
        port=port,
        pattern="please (restart|help)",
        playbook=str(tmp_path / "playbooks" / "playbook.yml"),
    )
    listening(rulebook, port)
    proof = tmp_path / "injected"
    url = f"http://127.0.0.1:{port}/"
    text = f"PLEASE restart {{{{ lookup('pipe', 'touch {proof}') }}}}"
    for identity, words in (("1", "all is well"), ("2", text)):
        assert send(url, identity, words, **{"ce-type": "com.x.post"}) == 202
    until(lambda: "text is " in rulebook.output, "the playbook runs", 120)
    (event,) = done(tmp_path)
    assert event["id"] == "2"
    assert "{ { lookup" in rulebook.output
    assert not proof.exists()


def test_a_dead_letter_becomes_a_ticket(start: Start, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "tickets").mkdir()
    rulebook = start(
        "streamops.knative.dead_letters",
        *("--id", "1", "--persistence-id", "letters"),
        port=port,
        tickets=str(tmp_path / "tickets"),
    )
    listening(rulebook, port)
    url = f"http://127.0.0.1:{port}/"
    for _ in range(2):  # a Broker may deliver twice
        assert send(url, "../../x", "lost", **{"ce-knativeerrorcode": "500"}) == 202
    # Ansible writes a file under another name, which begins with a dot, and renames it.
    tickets = until(lambda: list((tmp_path / "tickets").glob("[!.]*")), "a ticket is there", 120)
    until(lambda: tickets[0].read_text().endswith("}\n"), "it is complete")
    (ticket,) = tickets
    assert json.loads(ticket.read_text())["event"]["knativeerrorcode"] == "500"
    assert ticket.stat().st_mode & 0o777 == 0o640


def test_a_binding_that_stays_unready_starts_a_playbook(
    start: Start, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with api_server(tmp_path_factory.mktemp("kube")) as kube:
        kube.apply(definition("SinkBinding", "sources.knative.dev"), namespace("team"))
        rulebook = start(
            "streamops.knative.bindings",
            kubeconfig=str(kube.kubeconfig),
            not_ready_seconds=1,
            state_file=str(tmp_path / "bindings.db"),
            playbook=str(tmp_path / "playbooks" / "playbook.yml"),
        )
        binding = {**custom("SinkBinding", "b", "team"), "apiVersion": "sources.knative.dev/v1"}
        kube.apply(binding)
        condition = {"type": "Ready", "status": "False", "reason": "NoAddressable", "message": "m"}
        kube.set_status(binding, {"conditions": [condition]})
        (event,) = until(lambda: done(tmp_path), "the playbook runs", 120)
        assert (event["change"], event["namespace"], event["name"]) == ("NOT_READY", "team", "b")
        assert "NoAddressable" in event["reason"]
        rulebook.stop()


def test_an_unready_binding_has_the_pipelines_verified(
    eventing: Kube, start: Start, tmp_path: Path
) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "name": "nowhere"}
    binding = {**custom("SinkBinding", "b", "bound"), "apiVersion": "sources.knative.dev/v1"}
    subject = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": "bound",
        "name": "twitter",
    }
    binding["spec"] = {"subject": subject, "sink": {"ref": service}}
    eventing.apply(namespace("bound"), binding)
    pipeline = {"namespace": "bound", "sink": {"ref": service}, "viewer": False}
    host = {
        "kubeconfig": str(eventing.kubeconfig),
        "twitter_pipeline_credentials": "kubernetes",
        "twitter_pipeline_registry": "registry.example.com/streamops",
        **{f"twitter_pipeline_{name}": value for name, value in pipeline.items()},
    }
    inventory = {"knative_clusters": {"hosts": {"here": host}}}
    (tmp_path / "inventory.yml").write_text(json.dumps(inventory))
    rulebook = start(
        "streamops.knative.bindings", kubeconfig=str(eventing.kubeconfig), not_ready_seconds=1
    )
    rulebook.wait_for(r"twitter_pipeline_sink\.ref: there is no Service nowhere in namespace bound")
    assert "Verify the pipelines end to end" in rulebook.output


@pytest.mark.parametrize("path", sorted(RULEBOOKS.glob("*.yml")), ids=lambda path: path.stem)
def test_a_copy_of_a_rulebook_is_valid(path: Path) -> None:
    """ansible-rulebook does not validate those of collections, but what somebody makes of one."""
    Validate.rulebook(yaml.safe_load(path.read_text()))


def test_every_rulebook_is_tested() -> None:
    text = Path(__file__).read_text()
    assert all(f"streamops.knative.{path.stem}" in text for path in RULEBOOKS.glob("*.yml"))


# Bad input


@pytest.mark.parametrize(
    ("rulebook", "words"),
    [
        ("- name: [", "while parsing a flow"),
        ([{"name": "x"}], "'hosts' is a required property"),
        (rules({"streamops.knative.cloudevent": {"port": 1}}), "streamops.knative.cloudevent"),
        (rules({"someone.missing.source": {"port": 1}}), "someone.missing.source"),
        (rules(events(0)), "port is 0: choose one from 1 to 65535"),
        (rules(events(8080, host="0.0.0.0")), "set token_file, oidc_issuer or cafile"),
        (
            rules({"streamops.knative.resource": {"kind": "Pod", "kubeconfig": "/nowhere"}}),
            "api_version",
        ),
    ],
)
def test_what_cannot_run_ends_with_the_reason(
    start: Start, tmp_path: Path, rulebook: Any, words: str
) -> None:
    if isinstance(rulebook, str):
        (tmp_path / "broken.yml").write_text(rulebook)
        rulebook = str(tmp_path / "broken.yml")
    running = start(rulebook)
    assert running.ended(120) != 0
    assert words in running.output


def test_without_java_it_ends_with_the_reason(tmp_path: Path) -> None:
    running = Rulebook(tmp_path, rules(events(free_port())))
    # The folder of ansible-rulebook itself has no Java.
    running.start(PATH=str(Path(sys.executable).parent), JAVA_HOME="")
    assert running.ended(120) != 0
    assert "Java executable or JAVA_HOME environment variable not found" in running.output


def test_a_port_in_use_ends_the_rulebook(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start(rules(events(port)))
        assert running.ended(120) != 0
        assert f"port {port}: Address already in use; choose another port" in running.output


def test_a_signal_ends_it_in_order(start: Start) -> None:
    port = free_port()
    running = start(rules(events(port)), "--verbose")
    listening(running, port)
    assert send(f"http://127.0.0.1:{port}/", "1") == 202
    running.wait_for("ACTED 1")
    running.stop()
    assert "stopped: {'taken': 1" in running.output


def test_odd_events_do_not_stop_the_rules(start: Start) -> None:
    port = free_port()
    running = start(rules(events(port)))
    listening(running, port)
    odd: list[bytes] = [
        b"1" * 900,
        b"-1e308",
        b'"\\u0000"',
        b"[" * 58 + b"]" * 58,
        b'{"a/b": {"a.b": [null, {"meta": 1}], "*": []}}',
        json.dumps("x" * 100_000).encode(),
        json.dumps({"n" * 9000: 1}).encode(),
    ]
    unfit: list[bytes] = [b"1" * 4000, b"[" * 500 + b"]" * 500, b'{"a": [{"": 1}]}']
    url = f"http://127.0.0.1:{port}/"

    def post(identity: str, body: bytes) -> int:
        headers = {**BINARY, "ce-id": identity}
        return requests.post(url, data=body, headers=headers, timeout=60).status_code

    assert [post(f"unfit{number}", body) for number, body in enumerate(unfit)] == [400] * 3
    assert {post(f"odd{number}", body) for number, body in enumerate(odd)} == {202}
    assert send(url, "last") == 202
    running.wait_for("ACTED last")
    acted = set(re.findall("ACTED (odd[0-9])", running.output))
    assert acted == {f"odd{number}" for number in range(len(odd))}


def test_without_java_the_demo_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    environment = {**os.environ, "PATH": str(tmp_path / "bin"), "JAVA_HOME": ""}
    demo = [sys.executable, str(ROOT / "tests" / "e2e" / "rulebook_demo.py"), "--check"]
    done = subprocess.run(demo, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "apt-get install openjdk-17" in done.stderr) == (1, True)


# Nothing that was answered 202 is lost


@pytest.fixture(scope="module")
def eventing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with cluster(tmp_path_factory.mktemp("cluster")) as kube:
        files = eventing_release("in-memory-channel", "mt-channel-broker")
        kube.apply(*files, wait=True, wait_timeout=150)
        yield kube


SERVICE = "kubernetes.io/service-name=broker-ingress"


def ingress(kube: Kube, space: str) -> str:
    """Address of the Broker's ingress as this machine reaches it."""

    def look() -> str | None:
        client = kube.connect()
        slices = client.resource("discovery.k8s.io/v1", "EndpointSlice")
        for part in client.list(slices, "knative-eventing", label_selector=SERVICE):
            for endpoint in part.get("endpoints") or []:
                address, port = endpoint["addresses"][0], part["ports"][0]["port"]
                return f"http://{address}:{port}/{space}/default"
        return None

    return str(until(look, "the Broker's ingress has an endpoint"))


@pytest.mark.timeout(1500)
def test_killed_again_and_again_no_event_is_lost(
    eventing: Kube, start: Start, tmp_path: Path
) -> None:
    port = free_port()
    delivery = {"retry": 50, "backoffPolicy": "linear", "backoffDelay": "PT0.5S"}
    eventing.apply(
        namespace("rules"),
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Broker",
            "metadata": {"name": "default", "namespace": "rules"},
        },
        {
            "apiVersion": "eventing.knative.dev/v1",
            "kind": "Trigger",
            "metadata": {"name": "rulebook", "namespace": "rules"},
            "spec": {
                "broker": "default",
                "filter": {"attributes": {"type": "com.example.test"}},
                "subscriber": {"uri": f"http://127.0.0.1:{port}/"},
                "delivery": delivery,
            },
        },
        wait=True,
        wait_timeout=120,
    )
    url = ingress(eventing, "rules")
    # Without WRITE_DELAY=0 the database itself loses its last half second when it is killed.
    running = start(
        rules(events(port, feedback=True)),
        *("--id", "1", "--persistence-id", "kills"),
        drools_db_file_path=f"{tmp_path}/events;WRITE_DELAY=0",
    )
    listening(running, port)

    def deliver(number: int) -> None:
        until(lambda: send(url, f"e{number}") == 202, "the Broker takes an event", 60)

    def acted() -> Counter[str]:
        return Counter(re.findall(r"ACTED (e\d+)", running.output))

    killed = threading.Event()

    def kill() -> None:
        for number in range(KILLS):
            wanted = EVENTS * (number + 0.5) / KILLS
            until(lambda wanted=wanted: len(acted()) >= min(wanted, EVENTS - 1), "events act", 300)
            running.kill()
            running.start()
            listening(running, port)
        killed.set()

    with ThreadPoolExecutor(8) as pool:
        killing = pool.submit(kill)
        started = time.monotonic()
        for sending in [pool.submit(deliver, number) for number in range(EVENTS)]:
            sending.result()
        killing.result()
    assert killed.is_set()
    until(lambda: len(acted()) == EVENTS, "every event has acted", 300)
    counts = acted()
    repeated = sum(counts.values()) - EVENTS
    print(
        f"{EVENTS} events, {KILLS} kills, {time.monotonic() - started:.0f} s: none lost,"
        f" {repeated} actions repeated"
    )
    # At most what was being acted on when it was killed, and what the window and the engine held.
    assert repeated <= KILLS * 20
