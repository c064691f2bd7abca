"""What the real lane is made of, and that nothing of it stays."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.kube import REAL, Kube, cluster, config_map, namespace

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused

HERE = Path(__file__).parent
LANE = HERE / "lane.py"
KUBERNETES = HERE / "programs" / "kubernetes" / "go.mod"

inside = pytest.mark.skipif(not REAL, reason="runs inside the real lane: make real")


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@inside
def test_the_api_server_is_the_release_that_was_built(kube: Kube) -> None:
    built = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", KUBERNETES.read_text(), re.M)
    assert built is not None
    assert kube.client.version()["gitVersion"] == built[1]


@inside
def test_a_bundle_that_brings_its_namespace_is_judged_before_anything_changes(kube: Kube) -> None:
    """The server sends the index of its schemas as text/plain."""
    wrong = config_map("settings", "brought")
    wrong["immutable"] = "yes"
    with pytest.raises(Refused, match="immutable: must be boolean"):
        kube.apply(namespace("brought"), wrong)
    assert kube.get("v1", "Namespace", "brought") is None
    kube.apply(namespace("brought"), config_map("settings", "brought", key="1"))


@inside
def test_a_real_program_runs_in_a_network_of_its_pods_own(kube: Kube) -> None:
    image = "gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1.23.0"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "queue", "namespace": "default"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "queue", "image": image}]},
    }
    kube.apply(pod)

    def status() -> dict[str, object]:
        found = kube.get("v1", "Pod", "queue", "default")
        assert found is not None
        ended: dict[str, object] = found["status"]
        return ended

    deadline = time.monotonic() + 60
    while status().get("phase") != "Failed" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert str(status()["podIP"]).startswith("10.")
    client = kube.connect()
    path = "/api/v1/namespaces/default/pods/queue"
    # It says in Go's words that it was not configured; the stand-in would say it in Python's.
    log = subprocess.run(
        ["kubectl", "--kubeconfig", str(kube.kubeconfig), "logs", "queue"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert "required key" in log, (log, client.transport.request("GET", path)["status"])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_the_lane(number: signal.Signals, tmp_path: Path) -> None:
    seconds = f"86400.{os.getpid()}{int(number)}"  # recognizable among all processes
    started = tmp_path / "started"
    command = [
        sys.executable,
        str(LANE),
        "--",
        "sh",
        "-c",
        f"touch {started}; sleep {seconds} & wait",
    ]
    lane = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started.exists()
    lane.send_signal(number)
    lane.wait(30)
    while _mentioning(seconds) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _mentioning(seconds)


def test_what_begins_after_the_time_budget_is_skipped_by_name() -> None:
    name = f"{Path(__file__).name}::{test_nothing_outlives_the_lane.__name__}"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(HERE / name)],
        env={**os.environ, "TEST_SECONDS": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for number in (signal.SIGTERM, signal.SIGKILL):
        assert re.search(rf"{name}\[{number}\]: the time budget of 0 s", run.stdout), run.stdout


def _mentioning(text: str) -> list[str]:
    """Command lines of running processes that contain a text."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if text in command:
            found.append(command)
    return found
