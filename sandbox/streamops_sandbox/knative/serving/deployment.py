"""The Deployment of a Service's template: the user's containers, without a queue-proxy before them."""

from __future__ import annotations

import copy
import hashlib
import json

from streamops_sandbox.knative.reconciler import owned
from streamops_sandbox.knative.serving import names
from streamops_sandbox.objects import Object

#: The name of the port that requests are sent to.
USER_PORT = "user-port"
_DEFAULT_PORT = 8080
_PROGRESS_SECONDS = 600
_SCALING = "autoscaling.knative.dev/"
_TEMPLATE_HASH = f"{names.CONFIGURATION}TemplateHash"
_SERVING_ONLY = (
    "containerConcurrency", "containers", "idleTimeoutSeconds", "responseStartTimeoutSeconds",
    "timeoutSeconds",
)  # fmt: skip


def serving_container(service: Object) -> Object:
    """Return the container that gets the requests: the only one, or the one with a port."""
    containers: list[Object] = service["spec"]["template"]["spec"]["containers"]
    return next((c for c in containers if c.get("ports")), containers[0])


def make(service: Object, current: Object | None) -> Object:
    """Return a Service's Deployment, labelled as another Revision where `current` is of another template."""
    name, template = service["metadata"]["name"], service["spec"]["template"]
    own, spec = template.get("metadata") or {}, template["spec"]
    known = (current or {"metadata": {}})["metadata"]
    text = json.dumps(template, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    number = int((known.get("labels") or {}).get(names.CONFIGURATION_GENERATION, 0))
    if (known.get("annotations") or {}).get(_TEMPLATE_HASH) != digest:
        number += 1
    revision = own.get("name") or f"{name}-{number:05}"
    labels = {
        **(own.get("labels") or {}),
        "app": revision,
        names.CONFIGURATION: name,
        names.CONFIGURATION_GENERATION: str(number),
        names.REVISION: revision,
        names.SERVICE: name,
        names.SERVICE_UID: service["metadata"]["uid"],
    }
    annotations = names.inherited(own.get("annotations"))
    pod = {
        **{key: value for key, value in spec.items() if key not in _SERVING_ONLY},
        "containers": [_container(service, one, revision) for one in spec["containers"]],
        "terminationGracePeriodSeconds": spec.get("timeoutSeconds") or 300,
    }
    wanted = {
        "replicas": _replicas(annotations),
        "selector": {"matchLabels": {names.SERVICE_UID: service["metadata"]["uid"]}},
        "progressDeadlineSeconds": _PROGRESS_SECONDS,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    marks = {**annotations, _TEMPLATE_HASH: digest}
    return owned(
        service, "apps/v1", "Deployment", f"{name}-deployment", wanted,
        labels=labels, annotations=marks,
    )  # fmt: skip


def _replicas(annotations: dict[str, str]) -> int:
    """Return the lower bound, no more than the upper one: load is not measured."""
    low, high = (int(annotations.get(f"{_SCALING}{key}", 0)) for key in ("min-scale", "max-scale"))
    return min(max(1, low), high or max(1, low))


def _container(service: Object, container: Object, revision: str) -> Object:
    wanted, name = copy.deepcopy(container), service["metadata"]["name"]
    variables = {"K_REVISION": revision, "K_CONFIGURATION": name, "K_SERVICE": name}
    if container is serving_container(service):
        port = int((container.get("ports") or [{}])[0].get("containerPort") or _DEFAULT_PORT)
        variables = {"PORT": str(port), **variables}
        wanted["ports"] = [{"name": USER_PORT, "containerPort": port, "protocol": "TCP"}]
        for kind in ("httpGet", "tcpSocket", "grpc"):
            handler = (wanted.get("readinessProbe") or {}).get(kind)
            if handler is not None and not handler.get("port"):
                handler["port"] = port
    added = [{"name": name, "value": value} for name, value in variables.items()]
    wanted["env"] = [*(wanted.get("env") or []), *added]
    wanted.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")
    return wanted
