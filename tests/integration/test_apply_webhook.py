"""A webhook that is not there yet, a run that is broken off, and running through Ansible itself."""

from __future__ import annotations

import base64
import copy
import itertools
import json
import math
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from support.http_server import serving
from support.kube import Kube, api_server, config_map, namespace
from support.ports import free_port
from support.processes import HEEDING_CTRL_C
from support.sandbox import until
from support.site import BIN, ROOT, recap
from support.tls import issue

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply import Interrupted
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def ns(kube: Kube) -> str:
    """A namespace of one's own."""
    name = f"test-{uuid4().hex[:8]}"
    kube.apply(namespace(name))
    return name


class Admission(BaseHTTPRequestHandler):
    """Allows all but what is `refused`; from the `most`th write on none before it is `open`."""

    def do_POST(self) -> None:
        server: Any = self.server
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append(review["request"]["name"])
        if not review["request"].get("dryRun") and next(server.writes) > server.most:
            server.open.wait(60)
        allowed = review["request"]["name"] not in server.refused
        answer = {"uid": review["request"]["uid"], "allowed": allowed}
        body = json.dumps({**review, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Nothing to log in tests."""


@contextmanager
def webhook(port: int, certificate: Path, most: float = math.inf) -> Iterator[Any]:
    with serving(Admission, certificate, port) as server:
        server.seen, server.refused = [], set()
        server.most, server.writes, server.open = most, itertools.count(1), threading.Event()
        yield server


def configuration(ns: str, port: int, ca: str) -> dict[str, Any]:
    """A webhook for the ConfigMaps of one namespace."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": f"{ns}.example.com"},
        "webhooks": [
            {
                "name": f"{ns}.example.com",
                "clientConfig": {
                    "url": f"https://localhost:{port}/",
                    "caBundle": base64.b64encode(ca.encode()).decode(),
                },
                "rules": [
                    {
                        "apiGroups": [""],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["configmaps"],
                    }
                ],
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": ns}},
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 30,
            }
        ],
    }


def test_a_webhook_that_is_not_ready_is_tried_again_until_it_is(
    kube: Kube, ns: str, tmp_path: Path
) -> None:
    ca, certificate = issue("localhost", tmp_path)
    port = free_port()
    hook = configuration(ns, port, ca)
    kube.apply(copy.deepcopy(hook))
    with pytest.raises(Interrupted) as late:
        kube.apply(config_map("settings", ns), retry_timeout=0.5)
    assert "failed calling webhook" in str(late.value)
    assert "Tried again for 0.5 s (retry_timeout)" in str(late.value)
    assert late.value.result == {"changed": False}

    outcome: list[Any] = []
    work = threading.Thread(
        target=lambda: outcome.append(
            kube.apply(config_map("settings", ns), namespace(f"{ns}-more"), retry_timeout=120)
        )
    )
    work.start()
    until(lambda: kube.get("v1", "Namespace", f"{ns}-more"), "nothing else is held up", 60)
    with webhook(port, certificate) as server:
        work.join(60)
    assert outcome[0].actions["ConfigMap settings"] == "created"
    assert server.seen
    kube.apply(hook, state="absent")


def test_a_webhook_that_says_no_is_believed_before_anything_changes(
    kube: Kube, ns: str, tmp_path: Path
) -> None:
    ca, certificate = issue("localhost", tmp_path)
    with webhook(free_port(), certificate) as server:
        hook = configuration(ns, server.server_port, ca)
        kube.apply(copy.deepcopy(hook))
        server.refused = {"wrong"}
        with pytest.raises(Refused, match="denied the request"):
            kube.apply(config_map("wrong", ns), config_map("right", ns))
        assert kube.get("v1", "ConfigMap", "right", ns) is None
        assert sorted(server.seen) == ["right", "wrong"], "asked once each"
        kube.apply(config_map("right", ns))
        asked = len(server.seen)
        kube.apply(config_map("right", ns))
        assert len(server.seen) == asked, "no change, no question"
        kube.apply(hook, state="absent")


PLAY = """
- hosts: all
  gather_facts: false
  module_defaults:
    group/streamops.knative.kubernetes:
      kubeconfig: "{{ kubeconfig }}"
  tasks:
    - name: Apply
      streamops.knative.apply:
        templates: [{path: settings.yaml.j2, vars: {number: 3}}]
        files: [maps]
        definitions: "{{ extra }}"
        namespace: "{{ ns }}"
        wait: false
      register: applied
    - name: Read
      streamops.knative.resource_info:
        kind: ConfigMap
        namespace: "{{ ns }}"
        label_selectors: [part=settings]
      register: found
    - name: Show
      ansible.builtin.debug:
        msg: "{{ found.resources | map(attribute='data') | list | to_json }}"
"""


class Play:
    """A playbook with templates and files beside it."""

    def __init__(self, folder: Path, kube: Kube, ns: str) -> None:
        self.folder, self.kube, self.ns = folder, kube, ns
        (folder / "play.yml").write_text(PLAY)
        (folder / "templates").mkdir()
        (folder / "templates" / "settings.yaml.j2").write_text(
            "apiVersion: v1\nkind: ConfigMap\n"
            "metadata: {name: rendered, labels: {part: settings}}\n"
            'data: {number: "{{ number }}", host: "{{ inventory_hostname }}"}\n'
        )
        (folder / "files" / "maps").mkdir(parents=True)
        (folder / "files" / "maps" / "a.yaml").write_text(yaml.safe_dump(config_map("a", ns)))
        self.secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "keys"},
            "stringData": {"token": "very-secret-value"},
        }

    def command(self, *arguments: str, **variables: Any) -> list[str]:
        given = {
            "kubeconfig": str(self.kube.kubeconfig),
            "ns": self.ns,
            "extra": [self.secret],
            "ansible_python_interpreter": str(BIN / "python"),
            **variables,
        }
        return [
            str(BIN / "ansible-playbook"),
            *("-i", "one,", "-c", "local", str(self.folder / "play.yml")),
            *("-e", json.dumps(given), *arguments),
        ]

    def run(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, **variables),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


@pytest.fixture
def play(tmp_path: Path, kube: Kube, ns: str) -> Play:
    return Play(tmp_path, kube, ns)


def test_templates_files_and_inline_definitions_from_a_playbook(play: Play) -> None:
    first = play.run("--diff", "-vvv")
    assert first.returncode == 0, first.stdout + first.stderr
    assert recap(first.stdout)["one"]["changed"] == 1
    assert '"number": "3"' in first.stdout.replace("\\", "")
    live = play.kube.get("v1", "ConfigMap", "rendered", play.ns)
    assert live is not None
    assert live["data"] == {"number": "3", "host": "one"}
    assert "very-secret-value" not in first.stdout + first.stderr
    again = play.run()
    assert recap(again.stdout)["one"]["changed"] == 0


def test_the_same_works_in_a_process_of_its_own(play: Play) -> None:
    """As on another host, or with an environment: then the module does the work."""
    text = (play.folder / "play.yml").read_text()
    (play.folder / "play.yml").write_text(text + "  environment: {SOME: thing}\n")
    kubeconfig = yaml.safe_load(play.kube.kubeconfig.read_text())  # works as a dictionary, too
    first = play.run("-vvv", kubeconfig=kubeconfig)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "AnsiballZ" in first.stdout or "EXEC" in first.stdout
    said = first.stdout + first.stderr
    assert "very-secret-value" not in said
    assert kubeconfig["users"][0]["user"]["token"] not in said
    assert recap(play.run().stdout)["one"]["changed"] == 0


def test_a_template_in_another_encoding_is_named_with_the_line(play: Play) -> None:
    template = play.folder / "templates" / "settings.yaml.j2"
    template.write_bytes("a: b\nc: \u00e4\n".encode("latin-1"))
    failed = play.run()
    assert failed.returncode != 0
    assert "settings.yaml.j2 (rendered):2: not valid UTF-8" in failed.stdout + failed.stderr


def test_a_template_that_does_not_render_is_named(play: Play) -> None:
    (play.folder / "templates" / "settings.yaml.j2").write_text("{{ nobody_set_this }}")
    failed = play.run()
    assert failed.returncode != 0
    said = " ".join((failed.stdout + failed.stderr).split())
    assert "Nothing was changed" in said
    assert "templates: settings.yaml.j2" in said
    assert "nobody_set_this" in said


def test_a_run_that_is_broken_off_is_finished_by_the_next(
    play: Play, kube: Kube, ns: str, tmp_path: Path
) -> None:
    ca, certificate = issue("localhost", tmp_path)
    maps = [config_map(f"map-{number}", ns, key="value") for number in range(60)]
    with webhook(free_port(), certificate, most=20) as server:
        hook = configuration(ns, server.server_port, ca)
        kube.apply(copy.deepcopy(hook))
        running = subprocess.Popen(
            [*HEEDING_CTRL_C, *play.command(extra=maps)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        client = kube.connect()
        resource = client.resource("v1", "ConfigMap")
        until(lambda: len(client.list(resource, ns)) > 5, "some are there")
        assert running.poll() is None
        os.killpg(running.pid, signal.SIGINT)
        running.wait(60)
        partly = len(client.list(resource, ns))
        assert partly < 60
        server.open.set()
        finished = play.run(extra=maps)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        assert len(client.list(resource, ns)) == 62
        assert recap(play.run(extra=maps).stdout)["one"]["changed"] == 0
        kube.apply(hook, state="absent")
