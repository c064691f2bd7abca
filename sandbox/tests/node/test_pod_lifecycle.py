"""Starts, ends, restarts and probes, as the kubelet reports them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from support.sandbox import SERVER, Cluster, is_ready, until

SLEEP = "import time; print('up'); time.sleep(600)"


def container(status: dict[str, Any], name: str = "main") -> dict[str, Any]:
    every = status.get("containerStatuses") or []
    return next((entry for entry in every if entry["name"] == name), {"state": {}, "lastState": {}})


def condition(status: dict[str, Any], kind: str) -> tuple[str, str | None]:
    for entry in status.get("conditions") or []:
        if entry["type"] == kind:
            return entry["status"], entry.get("reason")
    return "", None


def gone(cluster: Cluster, name: str, namespace: str) -> bool:
    return all(pod["metadata"]["name"] != name for pod in cluster.pods(namespace))


def processes_of(cluster: Cluster, pod: dict[str, Any]) -> list[int]:
    """Return this machine's processes that belong to a pod."""
    wanted = f"/{pod['metadata']['uid']}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                environ = (entry / "environ").read_bytes()
            except OSError:
                continue
            if b"SANDBOX_CONTAINER=" in environ and wanted in environ:
                found.append(int(entry.name))
    return found


def test_a_successful_pod(cluster: Cluster, namespace: str) -> None:
    cluster.apply(cluster.python_pod("once", namespace, "print('done')", restartPolicy="Never"))
    pod = cluster.wait_for_pod(
        "once", namespace, lambda s: s.get("phase") == "Succeeded", "success"
    )
    terminated = container(pod["status"])["state"]["terminated"]
    assert (terminated["exitCode"], terminated["reason"]) == (0, "Completed")
    assert condition(pod["status"], "Ready") == ("False", "PodCompleted")
    assert condition(pod["status"], "PodScheduled")[0] == "True"
    assert cluster.logs("once", namespace) == "done\n"


def test_a_failed_pod_keeps_its_message(cluster: Cluster, namespace: str) -> None:
    code = """
import sys
open("/dev/termination-log", "w").write("out of luck")
sys.exit(3)
"""
    cluster.apply(cluster.python_pod("bad", namespace, code, restartPolicy="Never"))
    pod = cluster.wait_for_pod("bad", namespace, lambda s: s.get("phase") == "Failed", "failure")
    terminated = container(pod["status"])["state"]["terminated"]
    assert terminated["exitCode"] == 3
    assert terminated["reason"] == "Error"
    assert terminated["message"] == "out of luck"


def test_a_crashing_container_is_restarted_at_once_and_then_backs_off(
    cluster: Cluster, namespace: str
) -> None:
    code = "import time; print('run', time.time()); raise SystemExit(7)"
    cluster.apply(cluster.python_pod("crash", namespace, code))

    def backing_off(status: dict[str, Any]) -> bool:
        waiting = container(status)["state"].get("waiting") or {}
        return waiting.get("reason") == "CrashLoopBackOff"

    pod = cluster.wait_for_pod("crash", namespace, backing_off, "the back-off")
    found = container(pod["status"])
    uid = pod["metadata"]["uid"]
    assert found["restartCount"] == 1
    assert found["lastState"]["terminated"]["exitCode"] == 7
    assert found["state"]["waiting"]["message"] == (
        f"back-off 10s restarting failed container=main pod=crash_{namespace}({uid})"
    )
    assert pod["status"]["phase"] == "Running"
    assert condition(pod["status"], "Ready") == ("False", "ContainersNotReady")
    now, before = (cluster.logs("crash", namespace, previous=flag) for flag in (False, True))
    assert now != before
    assert now.startswith("run ")


def test_a_liveness_probe_restarts_and_a_readiness_probe_does_not(
    cluster: Cluster, namespace: str
) -> None:
    code = """
import http.server, os, pathlib
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(500 if pathlib.Path("/shared/sick").exists() else 200)
        self.end_headers()
http.server.HTTPServer((os.environ["HOST"], 8080), Handler).serve_forever()
"""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    more = {
        "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
        "pod": {
            "terminationGracePeriodSeconds": 1,
            "volumes": [{"name": "shared", "configMap": {"name": "states", "optional": True}}],
        },
    }
    once = {**probe, "failureThreshold": 1}
    cluster.apply(
        cluster.python_pod("live", namespace, code, livenessProbe=once, **more),
        cluster.python_pod("ready", namespace, code, readinessProbe=once, **more),
    )
    cluster.wait_for_pod("live", namespace, is_ready, "running")
    cluster.wait_for_pod("ready", namespace, is_ready, "ready at first")
    metadata = {"name": "states", "namespace": namespace}
    states = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    cluster.apply({**states, "data": {"sick": ""}})
    cluster.wait_for_pod("ready", namespace, lambda s: not is_ready(s), "not ready any more")
    pod = cluster.wait_for_pod(
        "live", namespace, lambda s: container(s).get("restartCount", 0) >= 1, "a restart"
    )
    assert container(pod["status"])["lastState"]["terminated"]["exitCode"] in (137, 143)
    ready = cluster.get("v1", "Pod", "ready", namespace)["status"]
    assert container(ready)["restartCount"] == 0
    messages = [event["message"] for event in cluster.list("v1", "Event", namespace)]
    assert "Container main failed liveness probe, will be restarted" in messages


def test_tcp_and_http_probes_look_at_the_pods_address(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        cluster.python_pod(
            "server",
            namespace,
            SERVER,
            ports=[{"containerPort": 8080, "name": "web"}],
            startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            readinessProbe={"httpGet": {"port": "web", "path": "/healthz"}},
        ),
        cluster.python_pod(
            "deaf",
            namespace,
            SLEEP,
            readinessProbe={"httpGet": {"port": 8080}, "periodSeconds": 1},
            pod={"terminationGracePeriodSeconds": 0},
        ),
    )
    cluster.wait_for_pod("server", namespace, is_ready, "ready")
    until(
        lambda: any(
            event["reason"] == "Unhealthy" and "connection refused" in event["message"]
            for event in cluster.list("v1", "Event", namespace)
            if event["involvedObject"]["name"] == "deaf"
        ),
        "the event",
    )
    assert not is_ready(cluster.get("v1", "Pod", "deaf", namespace)["status"])


def test_deletion_terminates_then_kills_and_tells_of_a_hook(
    cluster: Cluster, namespace: str
) -> None:
    polite = """
import signal, sys, time
def end(*_):
    print("term")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up")
time.sleep(600)
"""
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    hook = {"preStop": {"exec": {"command": ["true"]}}}
    cluster.apply(
        cluster.python_pod("polite", namespace, polite, lifecycle=hook),
        cluster.python_pod("deaf", namespace, deaf, pod={"terminationGracePeriodSeconds": 1}),
    )
    for name in ("polite", "deaf"):
        cluster.wait_for_pod(name, namespace, lambda s: s.get("phase") == "Running", "running")
    pods = [cluster.get("v1", "Pod", name, namespace) for name in ("polite", "deaf")]
    begun = time.monotonic()
    for name in ("polite", "deaf"):
        cluster.delete("v1", "Pod", name, namespace)
    terminating = cluster.get("v1", "Pod", "polite", namespace)
    assert terminating["metadata"]["deletionGracePeriodSeconds"] == 30
    for name in ("polite", "deaf"):
        until(lambda n=name: gone(cluster, n, namespace), f"{name} to be gone")
    # Whoever waits for the whole grace period needs 30 seconds.
    assert time.monotonic() - begun < 30
    messages = [event["message"] for event in cluster.list("v1", "Event", namespace)]
    assert "PreStopHook failed: this node runs no hooks" in messages
    assert not any(processes_of(cluster, pod) for pod in pods)


def test_what_a_container_started_ends_with_it(cluster: Cluster, namespace: str) -> None:
    code = """
import subprocess, sys, time
subprocess.Popen(["sleep", "600"])
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("up", flush=True)
time.sleep(0.5)
"""
    cluster.apply(cluster.python_pod("parent", namespace, code, restartPolicy="Never"))
    pod = cluster.wait_for_pod("parent", namespace, lambda s: s.get("phase") == "Succeeded", "end")
    until(lambda: not processes_of(cluster, pod), "no process")


def test_a_forced_deletion_ends_the_pod_at_once(cluster: Cluster, namespace: str) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    cluster.apply(cluster.python_pod("deaf", namespace, deaf))
    pod = cluster.wait_for_pod("deaf", namespace, lambda s: s.get("phase") == "Running", "running")
    until(lambda: processes_of(cluster, pod), "its process")
    cluster.delete("v1", "Pod", "deaf", namespace, gracePeriodSeconds=0)
    until(lambda: gone(cluster, "deaf", namespace), "the pod to be gone")
    until(lambda: not processes_of(cluster, pod), "no process")


def test_what_the_node_does_not_do_keeps_a_pod_from_being_scheduled(
    cluster: Cluster, namespace: str
) -> None:
    gates = [{"conditionType": "example.com/gate"}]
    spec = {"activeDeadlineSeconds": 1, "readinessGates": gates}
    probe = {"exec": {"command": ["true"]}}
    cluster.apply(cluster.python_pod("gated", namespace, "pass", livenessProbe=probe, pod=spec))

    def message() -> str:
        status = cluster.get("v1", "Pod", "gated", namespace)["status"]
        return " ".join(entry.get("message", "") for entry in status.get("conditions") or [])

    until(
        lambda: (
            "do not model activeDeadlineSeconds, readinessGates, livenessProbe.exec" in message()
        ),
        "its condition",
    )


@pytest.mark.parametrize(
    ("image", "reason"),
    [("{registry}/no/such:1", "ImagePullBackOff"), ("UPPER/case:1", "InvalidImageName")],
)
def test_an_image_that_cannot_be_had(
    cluster: Cluster, namespace: str, image: str, reason: str
) -> None:
    pod = cluster.python_pod("image", namespace, "pass")
    pod["spec"]["containers"][0]["image"] = image.format(registry=cluster.registry)
    cluster.apply(pod)

    def waiting(status: dict[str, Any]) -> bool:
        return container(status)["state"].get("waiting", {}).get("reason") == reason

    found = cluster.wait_for_pod("image", namespace, waiting, reason)
    assert found["status"]["phase"] == "Pending"
    assert "image" in container(found["status"])["state"]["waiting"]["message"]


def test_a_command_that_is_not_there(cluster: Cluster, namespace: str) -> None:
    pod = cluster.python_pod("nocmd", namespace, "pass", command=["/no/such/program"])
    pod["spec"]["restartPolicy"] = "Never"
    cluster.apply(pod)
    found = cluster.wait_for_pod(
        "nocmd", namespace, lambda s: s.get("phase") == "Failed", "failure"
    )
    terminated = container(found["status"])["state"]["terminated"]
    assert terminated["exitCode"] == 128
    assert terminated["reason"] == "StartError"
    assert "/no/such/program" in terminated["message"]


def test_logs_follow_tail_and_carry_times(cluster: Cluster, namespace: str) -> None:
    code = """
import sys, time
for number in range(5):
    print("line", number, flush=True)
print("to stderr", file=sys.stderr, flush=True)
time.sleep(1)
print("last", end="", flush=True)
"""
    cluster.apply(cluster.python_pod("talk", namespace, code, restartPolicy="Never"))
    begun = ("Running", "Succeeded")  # on a busy machine it may have ended when it is looked at
    cluster.wait_for_pod("talk", namespace, lambda s: s.get("phase") in begun, "its start")
    stream = cluster.core.read_namespaced_pod_log(
        "talk", namespace, follow=True, _preload_content=False
    )
    followed = stream.data.decode().splitlines()
    assert sorted(followed) == ["last", *(f"line {number}" for number in range(5)), "to stderr"]
    assert cluster.logs("talk", namespace, tail_lines=1) == "last\n"
    stamped = cluster.logs("talk", namespace, timestamps=True).splitlines()[0]
    assert stamped.endswith(" line 0")
    assert time.strptime(stamped[:19], "%Y-%m-%dT%H:%M:%S")
    assert cluster.logs("talk", namespace, limit_bytes=4) == "line"


def test_the_node_is_what_kubectl_expects(cluster: Cluster) -> None:
    (node,) = cluster.list("v1", "Node")
    assert condition(node["status"], "Ready") == ("True", "KubeletReady")
    assert node["status"]["nodeInfo"]["operatingSystem"] == "linux"
    assert int(node["status"]["capacity"]["cpu"]) == os.cpu_count()
