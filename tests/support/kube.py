"""API servers and clusters of the sandbox as processes of their own, and apply as a function."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.streamops.knative.plugins.module_utils._knative.bundle import (
    REQUEST_REPLY,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes import (
    config as kubeconfig,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import Client
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.transport import (
    Transport,
)
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from ansible_collections.streamops.knative.plugins.modules.apply import TASK
from streamops_sandbox.knative import release

Object = dict[str, Any]
KNATIVE = Path(__file__).resolve().parents[3] / "shared" / "knative"


@dataclass
class Outcome:
    """What a task returned, and what it told the person who waits."""

    result: dict[str, Any]
    warnings: list[str]
    progress: list[str]

    @property
    def actions(self) -> dict[str, str]:
        """Action by "Kind name"."""
        return {f"{o['kind']} {o['name']}": o["action"] for o in self.result["objects"]}


@dataclass
class Kube:
    """An API server to test against."""

    kubeconfig: Path
    pid: int = 0  # of the process that serves it, where it was started here
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = self.connect()

    def connect(self) -> Client:
        """A client that has discovered nothing yet."""
        config = kubeconfig.load({"kubeconfig": str(self.kubeconfig)})
        return Client(Transport(config, timeout=60))

    def run(
        self,
        task: Task,
        progress: list[str] | None = None,
        *,
        check: bool = False,
        diff: bool = False,
        **options: Any,
    ) -> Outcome:
        """Run a task as Ansible does with a local connection; raises what it raises.

        What it tells the person who waits is added to `progress`.
        """
        warnings: list[str] = []
        progress = [] if progress is None else progress
        validated = ArgumentSpecValidator(task.options, **task.constraints).validate(
            {"kubeconfig": str(self.kubeconfig), **options}
        )
        assert not validated.error_messages, validated.error_messages
        run = Run(validated.validated_parameters, check, diff, warnings.append, progress.append)
        return Outcome(task.work(run), warnings, progress)

    def apply(self, *definitions: Object | str, **options: Any) -> Outcome:
        """Run the apply task on inline definitions; does not wait unless told to."""
        options = {"wait": False, **options}
        return self.run(TASK, definitions=list(definitions), **options)

    def get(self, api_version: str, kind: str, name: str, namespace: str = "") -> Object | None:
        """Read one object."""
        client = self.connect()
        return client.get(client.resource(api_version, kind), name, namespace or None)

    def set_status(self, obj: Object, status: Object) -> Object:
        """Write a status, as a controller would."""
        client = self.connect()
        resource = client.resource(obj["apiVersion"], obj["kind"])
        metadata = obj["metadata"]
        patched: Object = client.transport.request(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"]) + "/status",
            body={"status": status},
            content_type="application/merge-patch+json",
        )
        return patched


#: The program that runs a cluster with Kubernetes' own control plane, inside the real lane.
REAL = os.environ.get("SANDBOX_CLUSTER_PROGRAM", "")


def sandbox_only(why: str) -> pytest.MarkDecorator:
    """Return the mark of a test that cannot run on the real lane, with the reason."""
    return pytest.mark.skipif(bool(REAL), reason=f"not on the real lane: {why}")


@contextmanager
def process(ready: Callable[[str], bool], *command: str) -> Iterator[subprocess.Popen[str]]:
    """A Python module, or program, as a process, from its line that says it is ready to its SIGTERM."""
    running = subprocess.Popen(
        [sys.executable, *(() if command[0].endswith(".py") else ("-m",)), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        assert ready(line), f"{command[0]} said {line!r}"
        yield running
    finally:
        running.terminate()
        # A client that does not read any more holds a TLS connection up for half a minute.
        running.communicate(timeout=90)


@contextmanager
def api_server(folder: Path) -> Iterator[Kube]:
    """An API server without controllers: objects stay as they are written."""
    if REAL:
        command = (REAL, "--bare", "--folder", str(folder))
        with process(lambda line: line == "ready\n", *command) as running:
            yield Kube(folder / "kubeconfig", running.pid)
        return
    with process(
        lambda line: line.startswith("https://"),
        "streamops_sandbox.kube",
        "--data-dir",
        str(folder),
    ) as server:
        yield Kube(folder / "kubeconfig", server.pid)


@contextmanager
def cluster(folder: Path, name: str = "test") -> Iterator[Kube]:
    """A whole cluster: API server, controllers, node."""
    with process(
        lambda line: line == "ready\n",
        REAL or "streamops_sandbox.cluster",
        "--name",
        name,
        "--folder",
        str(folder),
    ):
        yield Kube(folder / "kubeconfig")


def eventing_release(*more: str) -> list[Object | str]:
    """Return the files of Knative Eventing that the clusters here run: upstream's or the sandbox's.

    `more` are names of files beside its definitions and its core.
    """
    names = ("eventing-crds", "eventing-core", *more)
    if REAL:
        if not KNATIVE.is_dir():
            pytest.skip("the upstream manifests are not beside this checkout")
        texts = [(KNATIVE / f"{name}.yaml").read_text(encoding="utf-8") for name in names]
        return [*texts, *copy.deepcopy(REQUEST_REPLY)]
    files = [release.render("knative/eventing", "1.22.2", name) for name in names]
    return [file for file in files if file]


def config_map(name: str, namespace: str = "default", **data: str) -> Object:
    """A ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def namespace(name: str) -> Object:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def deployment(name: str, namespace: str = "default", image: str = "example.com/app:1") -> Object:
    """A Deployment of one replica."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": image,
                            "ports": [{"containerPort": 8080}],
                            "resources": {"limits": {"cpu": "1000m"}},
                        }
                    ]
                },
            },
        },
    }


def definition(kind: str, group: str = "example.com", **spec_properties: Object) -> Object:
    """A CustomResourceDefinition with a status that has conditions."""
    plural = f"{kind.lower()}s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": kind,
                "plural": plural,
                "singular": kind.lower(),
                "listKind": f"{kind}List",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {"type": "object", "properties": spec_properties},
                                "status": {
                                    "type": "object",
                                    "properties": {
                                        "observedGeneration": {"type": "integer"},
                                        "conditions": {
                                            "type": "array",
                                            "items": {
                                                "type": "object",
                                                "x-kubernetes-preserve-unknown-fields": True,
                                            },
                                        },
                                    },
                                },
                            },
                        }
                    },
                }
            ],
        },
    }


def custom(kind: str, name: str, namespace: str = "default", **spec: Any) -> Object:
    """A resource of `definition(kind)`."""
    return {
        "apiVersion": "example.com/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
