"""A stock kubectl against a whole cluster: what people type when they look after one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.sandbox import Cluster, Object, until

pytestmark = pytest.mark.needs("kubectl")

#: Writes a line a second; ends at SIGTERM.
TALK = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for number in range(1000):
    print("line", number, flush=True)
    time.sleep(0.2)
"""
#: What cannot be listed: kinds that are only ever asked.
ASKED = {"bindings", "reviews"}


class Kubectl:
    """kubectl in a test's namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments, stdin=stdin, check=check)

    def rolled_out(self, *names: str) -> None:
        for name in names:
            self("rollout", "status", name, "--timeout=60s")


def workload(cluster: Cluster, kind: str, code: str = TALK, **spec: Any) -> Object:
    """A Deployment, DaemonSet, StatefulSet or Job called `kind` in lower case."""
    name = kind.lower()
    labels = {"app": name}
    container = {"name": "main", "image": cluster.image, "command": ["python3", "-uc", code]}
    pod: Object = {"containers": [container], "terminationGracePeriodSeconds": 2}
    made: Object = {
        "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}, **spec},
    }
    if kind == "Job":
        pod["restartPolicy"] = "Never"
    else:
        made["spec"]["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        made["spec"]["serviceName"] = name
    return made


#: One of each kind people list, with what `get` has to print for it besides its age.
LISTED = {
    "StorageClass": ("example.com/disk Delete Immediate false", "storage.k8s.io/v1"),
    "NetworkPolicy": ("app=a", "networking.k8s.io/v1"),
    "IngressClass": ("example.com/ingress <none>", "networking.k8s.io/v1"),
    "PriorityClass": ("7 false PreemptLowerPriority", "scheduling.k8s.io/v1"),
    "RuntimeClass": ("fast", "node.k8s.io/v1"),
    "Lease": ("me", "coordination.k8s.io/v1"),
    "PodDisruptionBudget": ("1 N/A 0", "policy/v1"),
    "ReplicationController": ("0 0 0", "v1"),
}
BODIES: dict[str, Object] = {
    "StorageClass": {"provisioner": "example.com/disk"},
    "NetworkPolicy": {"spec": {"podSelector": {"matchLabels": {"app": "a"}}}},
    "IngressClass": {"spec": {"controller": "example.com/ingress"}},
    "PriorityClass": {"value": 7},
    "RuntimeClass": {"handler": "fast"},
    "Lease": {"spec": {"holderIdentity": "me"}},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}},
    "ReplicationController": {
        "spec": {
            "replicas": 0,
            "selector": {"a": "b"},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i:1"}]},
            },
        }
    },
}


@pytest.fixture
def kubectl(cluster: Cluster, namespace: str) -> Kubectl:
    return Kubectl(cluster, namespace)


def documents(*objects: Object) -> str:
    return yaml.safe_dump_all(objects)


def test_every_kind_is_listed_described_and_explained(kubectl: Kubectl) -> None:
    made = [
        {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": f"{kubectl.namespace}-x", "labels": {"test": kubectl.namespace}},
            **BODIES[kind],
        }
        for kind, (_columns, version) in LISTED.items()
    ]
    kubectl("apply", "-f", "-", stdin=documents(*made))
    chosen = f"-l=test={kubectl.namespace}"
    try:
        for kind, (columns, _version) in LISTED.items():
            row = kubectl("get", kind, chosen, "--no-headers").split()
            words = columns.split()
            assert [word for word in row[1:] if word in words] == words, f"{kind}: {row}"
        resources = kubectl("api-resources", "--no-headers", "-o", "name").split()
        for resource in resources:
            if not any(resource.split(".")[0].endswith(word) for word in ASKED):
                # Other tests' namespaces may be going while they are described.
                named = [kubectl.namespace] if resource == "namespaces" else []
                kubectl("describe", resource, *named)
    finally:
        kubectl("delete", "-f", "-", "--wait=false", stdin=documents(*made))
    assert "FIELD: podSelector" in kubectl("explain", "networkpolicy.spec.podSelector")


def test_events_are_printed_as_people_know_them(kubectl: Kubectl) -> None:
    made = workload(kubectl.cluster, "Job", "raise SystemExit(3)", backoffLimit=0)
    kubectl("apply", "-f", "-", stdin=documents(made))
    kubectl("wait", "--for=jsonpath={.status.failed}=1", "job/job", "--timeout=60s")

    def seen() -> bool:
        lines = kubectl("get", "events", "--field-selector=involvedObject.kind=Job").splitlines()
        if lines[0].startswith("No resources found"):
            return False
        assert lines[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
        return any(line.split()[1:4] == ["Normal", "SuccessfulCreate", "job/job"] for line in lines)

    until(seen, "the event of the pod's creation")
    assert kubectl("get", "events", "-o", "wide").splitlines()[0].endswith("NAME")
    assert "SuccessfulCreate" in kubectl("events", "--for", "job/job")


def test_logs(kubectl: Kubectl) -> None:
    crashing = kubectl.cluster.python_pod(
        "crashing", kubectl.namespace, "print('so long'); raise SystemExit(1)"
    )
    made = workload(kubectl.cluster, "Deployment")
    kubectl("apply", "-f", "-", stdin=documents(crashing, made))
    kubectl.rolled_out("deployment/deployment")
    until(
        lambda: "line 3" in kubectl("logs", "deployment/deployment", "--tail=-1"), "the fourth line"
    )
    log = kubectl("logs", "deployment/deployment", "--limit-bytes=13")
    assert log == "line 0\nline 1"
    assert len(kubectl("logs", "-l=app=deployment", "--tail=2").splitlines()) == 2
    stamps = [
        line.split()[0]
        for line in kubectl("logs", "deploy/deployment", "--timestamps").splitlines()
    ]
    assert stamps == sorted(stamps)
    since = kubectl("logs", "deployment/deployment", f"--since-time={stamps[2]}")
    assert "line 2" in since, "the beginning of that second counts"
    assert kubectl("logs", "deployment/deployment", "--since-time=2100-01-01T00:00:00Z") == ""
    assert "line 0" not in kubectl("logs", "deployment/deployment", "--since=1ns")
    assert "is not valid for pod" in kubectl("logs", "crashing", "-c", "x", check=False)
    until(
        lambda: kubectl("logs", "crashing", "--previous", check=False) == "so long\n",
        "the log of the run before",
    )
    with following(kubectl, "logs", "-f", "deployment/deployment", "--tail=1") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(3)]
        numbers = [int(line.split()[1]) for line in lines]
        assert numbers == list(range(numbers[0], numbers[0] + 3))
        kubectl("delete", "deployment", "deployment", "--cascade=foreground")
        assert process.wait(60) == 0, "the end of the container is the end of its log"


class following:
    """A kubectl that goes on until the block is left."""

    def __init__(self, kubectl: Kubectl, *arguments: str) -> None:
        config = str(kubectl.cluster.kubeconfig)
        command = ["kubectl", "--kubeconfig", config, "-n", kubectl.namespace, *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_exc: object) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)


def test_waiting_scaling_and_taking_away(kubectl: Kubectl) -> None:
    made = workload(kubectl.cluster, "Deployment", replicas=2)
    kubectl("apply", "-f", "-", stdin=documents(made))
    kubectl("wait", "--for=create", "deployment/deployment", "--timeout=60s")
    kubectl("wait", "--for=condition=Available", "deployment/deployment", "--timeout=60s")
    kubectl("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/deployment")
    refused = kubectl(
        "scale", "deployment/deployment", "--current-replicas=7", "--replicas=1", check=False
    )
    assert "Expected replicas to be 7, was 2" in refused
    assert kubectl("get", "deploy", "--subresource=scale", "deployment").split()[:3] == [
        "NAME",
        "DESIRED",
        "AVAILABLE",
    ]
    kubectl("scale", "deployment/deployment", "--replicas=1")
    kubectl("wait", "--for=jsonpath={.status.replicas}=1", "deployment/deployment")
    running = ("get", "pods", "--field-selector=status.phase=Running", "-o", "name")
    until(lambda: len(kubectl(*running).split()) == 1, "one pod")
    (pod,) = kubectl(*running).split()
    kubectl("delete", "deployment", "deployment", "--cascade=orphan")
    assert kubectl(*running).split() == [pod], "orphans stay"
    kubectl("delete", "replicaset", "--all", "--cascade=foreground", "--timeout=60s")
    kubectl("wait", "--for=delete", pod, "--timeout=60s")


def test_the_node_is_drained_and_taken_back(kubectl: Kubectl) -> None:
    """Only pods of this test: others use the same node."""
    made = workload(kubectl.cluster, "Deployment")
    kubectl("apply", "-f", "-", stdin=documents(made))
    kubectl.rolled_out("deployment/deployment")
    (node,) = kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()
    (pod,) = kubectl("get", "pods", "-o", "name").split()
    try:
        said = kubectl("drain", node, "--pod-selector=app=deployment", "--timeout=60s")
        assert f"{pod} evicted" in said
        assert "SchedulingDisabled" in kubectl("get", "node", node)
        others = until(
            lambda: set(kubectl("get", "pods", "-o", "name").split()) - {pod}, "its replacement"
        )
        assert "Pending" in kubectl("get", *others)
    finally:
        kubectl("uncordon", node)
    kubectl.rolled_out("deployment/deployment")


def test_what_is_not_modelled_says_so(kubectl: Kubectl) -> None:
    made = workload(kubectl.cluster, "Deployment")
    kubectl("apply", "-f", "-", stdin=documents(made))
    kubectl.rolled_out("deployment/deployment")
    (pod,) = kubectl("get", "pods", "-o", "name").split()
    for command, what in {
        ("exec", "deploy/deployment", "--", "true"): "pods/exec",
        ("attach", "deploy/deployment"): "pods/attach",
        ("port-forward", "deploy/deployment", "0:8080"): "pods/portforward",
        ("debug", pod, "--image=i:1"): "pods/ephemeralcontainers",
    }.items():
        said = kubectl(*command, check=False)
        assert f"the sandbox's API server does not model {what}" in said, said
    assert "Metrics API not available" in kubectl("top", "pods", check=False)


def test_apply_set_prunes(kubectl: Kubectl) -> None:
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("a", "b")
    ]
    command = ("apply", "-f", "-", "--prune", "--applyset=both")
    environment = {"KUBECTL_APPLYSET": "true"}
    kubectl.cluster.kubectl(
        "-n", kubectl.namespace, *command, stdin=documents(*maps), env=environment
    )
    said = kubectl.cluster.kubectl(
        "-n", kubectl.namespace, *command, stdin=documents(maps[0]), env=environment
    )
    assert "configmap/b pruned" in said
    assert "configmap/a" in kubectl("get", "cm", "-o", "name")


def test_edit_sends_a_patch_and_sees_what_is_wrong(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("create", "configmap", "a", "--from-literal=k=red")

    def edit(script: str) -> str:
        editor = {"EDITOR": f"sed -i {script}", "TMPDIR": str(tmp_path)}
        inside = ("-n", kubectl.namespace)
        return kubectl.cluster.kubectl("edit", "configmap", "a", *inside, env=editor, check=False)

    assert "configmap/a edited" in edit("s/red/blue/")
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.data.k}") == "blue"
    assert 'configmaps "a" is invalid' in edit("s/blue/[1]/")
    stale = yaml.safe_load(kubectl("get", "cm", "a", "-o", "yaml"))
    kubectl("label", "configmap", "a", "x=y")
    conflict = kubectl("replace", "-f", "-", stdin=documents(stale), check=False)
    assert "the object has been modified; please apply your changes to the latest" in conflict
