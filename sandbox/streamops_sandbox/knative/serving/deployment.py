"""The Deployment of a Revision: the user's containers, without a queue-proxy before them."""

from __future__ import annotations

import copy

from streamops_sandbox.knative.reconciler import owned
from streamops_sandbox.knative.serving import names
from streamops_sandbox.objects import Object

_DEFAULT_PORT = 8080
_PROGRESS_SECONDS = 600
_REVISION_ONLY = (
    "containerConcurrency", "containers", "idleTimeoutSeconds", "responseStartTimeoutSeconds",
    "timeoutSeconds",
)  # fmt: skip


def serving_container(revision: Object) -> Object:
    """Return the container that gets the requests: the only one, or the one with a port."""
    containers: list[Object] = revision["spec"]["containers"]
    return next((c for c in containers if c.get("ports")), containers[0])


def user_port(revision: Object) -> int:
    """Return the port that requests are sent to."""
    ports = serving_container(revision).get("ports") or [{}]
    return int(ports[0].get("containerPort") or _DEFAULT_PORT)


def make(revision: Object, replicas: int) -> Object:
    """Return a Revision's Deployment."""
    metadata, spec = revision["metadata"], revision["spec"]
    marks = {
        "labels": labels_of(revision),
        "annotations": names.inherited(metadata.get("annotations")),
    }
    pod = {
        **{key: value for key, value in spec.items() if key not in _REVISION_ONLY},
        "containers": [_container(revision, container) for container in spec["containers"]],
        "terminationGracePeriodSeconds": spec.get("timeoutSeconds") or 300,
    }
    wanted = {
        "replicas": replicas,
        "selector": {"matchLabels": {names.REVISION_UID: metadata["uid"]}},
        "progressDeadlineSeconds": _PROGRESS_SECONDS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
        "template": {"metadata": marks, "spec": pod},
    }
    name = f"{metadata['name']}-deployment"
    return owned(revision, "apps/v1", "Deployment", name, wanted, **marks)


def labels_of(revision: Object) -> dict[str, str]:
    """Return the labels of all that a Revision owns."""
    metadata = revision["metadata"]
    kept = {k: v for k, v in (metadata.get("labels") or {}).items() if k != names.ROUTING_STATE}
    return {
        **kept,
        "app": metadata["name"],
        names.REVISION: metadata["name"],
        names.REVISION_UID: metadata["uid"],
    }


def _container(revision: Object, container: Object) -> Object:
    wanted = copy.deepcopy(container)
    labels = revision["metadata"].get("labels") or {}
    variables = {
        "K_REVISION": revision["metadata"]["name"],
        "K_CONFIGURATION": labels.get(names.CONFIGURATION, ""),
        "K_SERVICE": labels.get(names.SERVICE, ""),
    }
    if container is serving_container(revision):
        port = user_port(revision)
        variables = {"PORT": str(port), **variables}
        wanted["ports"] = [{"name": "user-port", "containerPort": port, "protocol": "TCP"}]
        for kind in ("httpGet", "tcpSocket", "grpc"):
            handler = (wanted.get("readinessProbe") or {}).get(kind)
            if handler is not None and not handler.get("port"):
                handler["port"] = port
    added = [{"name": name, "value": value} for name, value in variables.items()]
    wanted["env"] = [*(wanted.get("env") or []), *added]
    wanted.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return wanted
