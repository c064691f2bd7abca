"""A cluster of the sandbox with Knative on it, used through kubectl and plain HTTP."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from support.sandbox import Cluster, Object, sandbox, state_of, until

from streamops_sandbox.knative import release

_RECEIVER = (Path(__file__).parent / "receiver.py").read_text()
_MANIFESTS = Path(__file__).parents[4] / "shared" / "knative"
_RELEASE = [
    ("knative/serving", "1.23.0", "serving-crds"),
    ("knative/eventing", "1.22.2", "eventing-crds"),
    ("knative/serving", "1.23.0", "serving-core"),
    ("knative-extensions/net-kourier", "1.23.0", "kourier"),
    ("knative/eventing", "1.22.2", "eventing-core"),
    ("knative/eventing", "1.22.2", "in-memory-channel"),
    ("knative/eventing", "1.22.2", "mt-channel-broker"),
]
_KOURIER = "kourier.ingress.networking.knative.dev"
SERVING, EVENTING = "serving.knative.dev/v1", "eventing.knative.dev/v1"
SOURCES = "sources.knative.dev/v1"


class KnativeCluster(Cluster):
    """A cluster on which Knative is, or is about to be."""

    def install(self, text: str) -> None:
        """Apply a release file, again for as long as a webhook it needs is not there."""
        deadline = time.monotonic() + 120
        while True:
            command = ("apply", "--server-side", "--force-conflicts", "-f", "-")
            output = self.kubectl(*command, stdin=text, check=False)
            if "rror" not in output:
                return
            retriable = "failed calling webhook" in output or "no matches for kind" in output
            assert retriable, output
            assert time.monotonic() < deadline, output
            time.sleep(0.3)

    def wait(self, condition: str, *what: str, namespace: str, seconds: int = 100) -> None:
        self.kubectl("wait", f"--for={condition}", f"--timeout={seconds}s", "-n", namespace, *what)

    def rolled_out(self, *namespaces: str) -> None:
        for namespace in namespaces:
            self.wait("condition=Available", "deployment", "--all", namespace=namespace)

    def configure(self, name: str, data: dict[str, str], namespace: str) -> None:
        """Set keys of a ConfigMap, once the webhook that guards it answers."""
        patch = json.dumps({"data": data})
        arguments = ("patch", "configmap", name, "-n", namespace, "--type=merge", "-p", patch)
        until(lambda: "patched" in self.kubectl(*arguments, check=False), f"{name} patched")

    def use_kourier(self) -> None:
        """Make Kourier the ingress and `localhost` the domain."""
        self.configure("config-network", {"ingress-class": _KOURIER}, "knative-serving")
        self.configure("config-domain", {"localhost": ""}, "knative-serving")

    @property
    def gateway(self) -> str:
        """The gateway's address on this machine."""
        service = self.get("v1", "Service", "kourier", "kourier-system")
        return f"http://127.0.0.1:{service['spec']['ports'][0]['nodePort']}"

    def fetch(self, host: str, path: str = "/", **options: Any) -> requests.Response:
        """Ask the gateway, from outside the cluster, for a host."""
        options.setdefault("timeout", 30)
        return requests.get(f"{self.gateway}{path}", headers={"Host": host}, **options)

    def broker_ingress(self, namespace: str, name: str) -> str:
        """Return the URL of a Broker that works from this machine."""
        pods = self.pods("knative-eventing", "eventing.knative.dev/brokerRole=ingress")
        running = [pod for pod in pods if pod["status"].get("podIP")]
        return f"http://{running[0]['status']['podIP']}:8080/{namespace}/{name}"

    def container(self, **env: str) -> Object:
        """Return a container that runs the receiver."""
        return {
            "name": "user-container",
            "image": self.image,
            "command": ["python3", "-c", _RECEIVER],
            "env": [{"name": name, "value": value} for name, value in env.items()],
        }

    def ksvc_object(
        self, name: str, namespace: str, scale: Object | None = None, **env: str
    ) -> Object:
        """Return a Knative Service that runs the receiver; `scale` are autoscaling annotations."""
        annotations = {"min-scale": "1", **(scale or {})}
        metadata = {
            "annotations": {f"autoscaling.knative.dev/{k}": v for k, v in annotations.items()}
        }
        spec = {"containers": [self.container(**env)]}
        return {
            "apiVersion": SERVING,
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"template": {"metadata": metadata, "spec": spec}},
        }

    def ksvc(self, name: str, namespace: str, scale: Object | None = None, **env: str) -> None:
        """Create a Knative Service that runs the receiver and wait until it is ready."""
        self.apply(self.ksvc_object(name, namespace, scale, **env))
        self.wait("condition=Ready", f"ksvc/{name}", namespace=namespace)

    def workload(self, kind: str, name: str, namespace: str, **env: str) -> Object:
        """Return a Deployment, StatefulSet, DaemonSet or Job that runs the receiver."""
        pod: Object = {"containers": [self.container(**env)]}
        spec: Object = {"template": {"metadata": {"labels": {"app": name}}, "spec": pod}}
        if kind == "Job":
            pod["restartPolicy"] = "Never"
        else:
            spec["selector"] = {"matchLabels": {"app": name}}
        if kind == "StatefulSet":
            spec["serviceName"] = name
        return {
            "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "labels": {"bound": name}},
            "spec": spec,
        }

    def events(self, name: str, namespace: str) -> list[Object]:
        """Return what the receiver behind a Knative Service got."""
        status = self.get(SERVING, "Service", name, namespace)["status"]
        found: list[Object] = self.fetch(status["url"].removeprefix("http://")).json()
        return found

    def send(self, url: str, *, kind: str = "com.x.post", **attributes: str) -> requests.Response:
        """Send an event in binary mode."""
        event = {"id": uuid.uuid4().hex, "source": "/tests", "specversion": "1.0", "type": kind}
        headers = {f"ce-{name}": value for name, value in {**event, **attributes}.items()}
        return requests.post(url, headers=headers, json={"text": "grüße 🎉"}, timeout=60)


def sink_ref(name: str, kind: str = "Service", api_version: str = SERVING) -> Object:
    """Return a destination that refers to an object of the same namespace."""
    return {"ref": {"apiVersion": api_version, "kind": kind, "name": name}}


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnativeCluster]:
    """A cluster for upstream's own manifests."""
    yield from _running(tmp_path_factory.mktemp("upstream"))


@pytest.fixture(scope="module")
def recorded_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnativeCluster]:
    """A cluster with Eventing alone, whose webhook has the rights it had when it was recorded."""
    for cluster in _running(tmp_path_factory.mktemp("recorded")):
        for name in ("serving-crds", "eventing-crds", "eventing-core"):
            cluster.install((_MANIFESTS / f"{name}.yaml").read_text())
        account = "knative-eventing:eventing-webhook"
        cluster.kubectl(
            "create", "clusterrolebinding", "recorded-webhook", "--clusterrole=cluster-admin",
            f"--serviceaccount={account}",
        )  # fmt: skip
        cluster.rolled_out("knative-eventing")
        yield cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnativeCluster]:
    """A cluster with the sandbox's own release of Knative, which idles only for seconds."""
    for cluster in _running(tmp_path_factory.mktemp("knative")):
        for item in _RELEASE:
            text = release.render(*item)
            assert text is not None
            cluster.install(text)
        cluster.use_kourier()
        scaling = {"stable-window": "6s", "scale-to-zero-grace-period": "6s"}
        cluster.configure("config-autoscaler", scaling, "knative-serving")
        cluster.rolled_out("knative-serving", "knative-eventing", "kourier-system")
        yield cluster


def _running(home: Path) -> Iterator[KnativeCluster]:
    try:
        sandbox("up", "--port", "0", "--cluster", "knative", home=home)
        yield KnativeCluster("knative", state_of(home))
    finally:
        sandbox("down", home=home)
