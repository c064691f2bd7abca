"""Defaults of pod specs (kubernetes/pkg/apis/core/v1/defaults.go)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_FILE_MODE = 0o644
_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def default(spec: Json) -> None:
    """Fill in a pod spec's defaults, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for key in CONTAINER_LISTS:
        for container in spec.get(key) or []:
            _container(container, ephemeral=key == "ephemeralContainers")
    if spec.get("hostNetwork"):
        for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
            for port in container.get("ports") or []:
                port.setdefault("hostPort", port.get("containerPort"))
    for volume in spec.get("volumes") or []:
        _volume(volume)


def _container(container: Json, *, ephemeral: bool) -> None:
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    resources = container.setdefault("resources", {})
    if resources.get("limits") and not ephemeral:
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for probe in [container[key] for key in PROBES if container.get(key) is not None]:
        for key, value in _PROBE.items():
            probe.setdefault(key, value)
        _handler(probe)
    for handler in (container.get("lifecycle") or {}).values():
        _handler(handler)
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        _field_reference(source)
        if source.get("resourceFieldRef"):
            source["resourceFieldRef"].setdefault("divisor", "0")


def _pull_policy(image: str) -> str:
    last = image.rpartition("/")[2]
    if "@" in last:
        return "IfNotPresent"
    return "Always" if last.partition(":")[2] in ("", "latest") else "IfNotPresent"


def _handler(handler: Any) -> None:
    action = handler.get("httpGet") if isinstance(handler, dict) else None
    if action is not None:
        action.setdefault("scheme", "HTTP")
        action["path"] = action.get("path") or "/"
    if isinstance(handler, dict) and handler.get("grpc"):
        handler["grpc"].setdefault("service", "")


def _field_reference(source: Json) -> None:
    if source.get("fieldRef"):
        source["fieldRef"].setdefault("apiVersion", "v1")


def _volume(volume: Json) -> None:
    if not any(key != "name" for key in volume):
        volume["emptyDir"] = {}
    for key in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(key) is not None:
            volume[key].setdefault("defaultMode", _FILE_MODE)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    for item in _downward_items(volume):
        _field_reference(item)
        if item.get("resourceFieldRef"):
            item["resourceFieldRef"].setdefault("divisor", "0")
    for source in (volume.get("projected") or {}).get("sources") or []:
        if source.get("serviceAccountToken") is not None:
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if claim:
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")


def _downward_items(volume: Json) -> Iterator[Json]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    for source in sources:
        yield from (source.get("downwardAPI") or {}).get("items") or []


def default_template(template: Json) -> None:
    """Fill in a pod template's defaults, in place."""
    template.setdefault("metadata", {})
    default(template.setdefault("spec", {}))
