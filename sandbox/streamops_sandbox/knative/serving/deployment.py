"""The Deployment of a Revision: the user's containers with a queue-proxy in front."""

from __future__ import annotations

import copy
import json

from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.knative.serving import names

_DEFAULT_PORT = 8080
_SCALING = "autoscaling.knative.dev/"
_PROGRESS_SECONDS = 600


def scale_bound(revision: Object, name: str, default: int) -> int:
    """Return `min-scale`, `max-scale` or `initial-scale`; the camelCase names of old are understood."""
    found = revision["metadata"].get("annotations") or {}
    camel = name.replace("-s", "S")
    value = found.get(f"{_SCALING}{name}", found.get(f"{_SCALING}{camel}", ""))
    return int(value) if value.isdigit() else default


def serving_container(revision: Object) -> Object:
    """Return the container that gets the requests: the only one, or the one with a port."""
    containers: list[Object] = revision["spec"]["containers"]
    return next((c for c in containers if c.get("ports")), containers[0])


def make(revision: Object, queue_image: str, replicas: int) -> Object:
    """Return a Revision's Deployment."""
    metadata = revision["metadata"]
    labels = labels_of(revision)
    spec = revision["spec"]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": f"{metadata['name']}-deployment",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": names.inherited(metadata.get("annotations")),
            "ownerReferences": [owner_reference(revision)],
        },
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {names.REVISION_UID: metadata["uid"]}},
            "progressDeadlineSeconds": _PROGRESS_SECONDS,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": names.inherited(metadata.get("annotations")),
                },
                "spec": {
                    **{k: v for k, v in spec.items() if k not in _REVISION_ONLY},
                    "containers": [
                        *(_user_container(revision, c) for c in spec["containers"]),
                        _queue_proxy(revision, queue_image),
                    ],
                    "terminationGracePeriodSeconds": spec.get("timeoutSeconds") or 300,
                },
            },
        },
    }


_REVISION_ONLY = (
    "containerConcurrency", "containers", "idleTimeoutSeconds", "responseStartTimeoutSeconds",
    "timeoutSeconds",
)  # fmt: skip


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


def _user_port(revision: Object) -> int:
    ports = serving_container(revision).get("ports") or [{}]
    return int(ports[0].get("containerPort") or _DEFAULT_PORT)


def _user_container(revision: Object, container: Object) -> Object:
    wanted = copy.deepcopy(container)
    labels = revision["metadata"].get("labels") or {}
    variables = {
        "K_REVISION": revision["metadata"]["name"],
        "K_CONFIGURATION": labels.get(names.CONFIGURATION, ""),
        "K_SERVICE": labels.get(names.SERVICE, ""),
    }
    wanted.pop("readinessProbe", None)  # asked by the queue-proxy
    if container is serving_container(revision):
        port = _user_port(revision)
        variables = {"PORT": str(port), **variables}
        wanted["ports"] = [{"name": "user-port", "containerPort": port, "protocol": "TCP"}]
        drain = {"httpGet": {"path": "/wait-for-drain", "port": names.QUEUE_ADMIN_PORT}}
        wanted["lifecycle"] = {"preStop": drain}
    wanted["env"] = [
        *(wanted.get("env") or []),
        *({"name": name, "value": value} for name, value in variables.items()),
    ]
    wanted.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return wanted


def _queue_proxy(revision: Object, image: str) -> Object:
    metadata, spec = revision["metadata"], revision["spec"]
    labels = metadata.get("labels") or {}
    port = _user_port(revision)
    probe = copy.deepcopy(serving_container(revision).get("readinessProbe") or {})
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if kind in probe and not probe[kind].get("port"):
            probe[kind]["port"] = port
    variables = {
        "SERVING_NAMESPACE": metadata["namespace"],
        "SERVING_SERVICE": labels.get(names.SERVICE, ""),
        "SERVING_CONFIGURATION": labels.get(names.CONFIGURATION, ""),
        "SERVING_REVISION": metadata["name"],
        "QUEUE_SERVING_PORT": str(names.QUEUE_PORT),
        "USER_PORT": str(port),
        "CONTAINER_CONCURRENCY": str(spec.get("containerConcurrency") or 0),
        "REVISION_TIMEOUT_SECONDS": str(spec.get("timeoutSeconds") or 300),
        "SERVING_READINESS_PROBE": json.dumps(probe, separators=(",", ":"), sort_keys=True),
    }
    header = {"name": names.PROBE_HEADER, "value": "queue"}
    return {
        "name": "queue-proxy",
        "image": image,
        "ports": [
            {"name": "http-queueadm", "containerPort": names.QUEUE_ADMIN_PORT},
            {"name": "http-autometric", "containerPort": names.QUEUE_METRICS_PORT},
            {"name": "queue-port", "containerPort": names.QUEUE_PORT},
        ],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "readinessProbe": {
            "httpGet": {"port": names.QUEUE_PORT, "httpHeaders": [header]},
            "periodSeconds": 1,
            "failureThreshold": 3,
        },
        "resources": {"requests": {"cpu": "25m"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
