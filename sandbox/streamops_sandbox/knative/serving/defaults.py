"""Defaulting of Serving's kinds: what its mutating webhook fills in."""

from __future__ import annotations

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.eventing.defaults import annotate_user
from streamops_sandbox.objects import Object

_GROUP = "serving.knative.dev"


def default(config: Informer, request: Object, obj: Object) -> None:
    """Fill in an object's defaults; `config` is the informer of Serving's ConfigMaps."""
    kind = request["kind"]
    if kind["group"] != _GROUP:
        return
    spec = obj.setdefault("spec", {})
    if kind["kind"] == "Service":
        if isinstance(spec.get("template"), dict):
            _revision(config, spec["template"].setdefault("spec", {}))
        _traffic(spec)
    annotate_user(obj, request, _GROUP)


def _revision(config: Informer, spec: Object) -> None:
    values = configmaps.data(config, "config-defaults")
    defaults = {
        "timeoutSeconds": int(values.get("revision-timeout-seconds", 300)),
        "containerConcurrency": int(values.get("container-concurrency", 0)),
        "enableServiceLinks": values.get("enable-service-links") == "true",
    }
    for key, value in defaults.items():
        if spec.get(key) is None:
            spec[key] = value
    containers = spec.get("containers") or []
    for index, container in enumerate(containers):
        if not container.get("name"):
            suffix = f"-{index}" if len(containers) > 1 else ""
            container["name"] = f"user-container{suffix}"
        container.setdefault("resources", {})
        if len(containers) == 1 or container.get("ports"):
            _readiness(container)


def _readiness(container: Object) -> None:
    probe = container.setdefault("readinessProbe", {})
    if not any(probe.get(kind) for kind in ("exec", "httpGet", "tcpSocket", "grpc")):
        probe["tcpSocket"] = {"port": 0}
    probe.setdefault("successThreshold", 1)
    for kind in ("httpGet", "tcpSocket"):
        if probe.get(kind) is not None:
            probe[kind].setdefault("port", 0)


def _traffic(spec: Object) -> None:
    if not spec.get("traffic"):
        spec["traffic"] = [{"latestRevision": True, "percent": 100}]
    for target in spec["traffic"]:
        if target.get("latestRevision") is None:
            target["latestRevision"] = not target.get("revisionName")
