"""The internal Ingress of a Route, and the Services that carry its names inside the cluster."""

from __future__ import annotations

from collections.abc import Iterable

from streamops_sandbox.controller import Object, owner_reference
from streamops_sandbox.knative.serving import names
from streamops_sandbox.knative.serving.domains import Domains

_DEFAULT_CLASS = "istio.ingress.networking.knative.dev"


def make(
    route: Object, targets: list[Object], domains: Domains, settings: dict[str, str]
) -> Object:
    """Return the Ingress of a Route whose targets all name a Revision."""
    metadata = route["metadata"]
    annotations = {
        **names.inherited(metadata.get("annotations")),
        names.INGRESS_CLASS: (metadata.get("annotations") or {}).get(names.INGRESS_CLASS)
        or settings.get("ingress-class", _DEFAULT_CLASS),
    }
    rules = []
    for tag in ["", *sorted({target["tag"] for target in targets if target.get("tag")})]:
        splits = _splits(route, targets, tag)
        if not splits:
            continue
        http = {"paths": [{"splits": splits}]}
        rules.append(
            {"hosts": domains.local(route, tag), "visibility": "ClusterLocal", "http": http}
        )
        if not domains.is_local(route):
            hosts = [domains.external(route, tag)]
            rules.append({"hosts": hosts, "visibility": "ExternalIP", "http": http})
    return {
        "apiVersion": names.NETWORKING,
        "kind": "Ingress",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                names.ROUTE: metadata["name"],
                names.ROUTE_NAMESPACE: metadata["namespace"],
            },
            "annotations": annotations,
            "ownerReferences": [owner_reference(route)],
        },
        "spec": {"httpOption": "Enabled", "rules": rules},
    }


def _splits(route: Object, targets: list[Object], tag: str) -> list[Object]:
    """Return who gets the requests for a tag, or for the Route's own name."""
    chosen: dict[str, int] = {}
    for target in targets:
        revision = target["revisionName"]
        if tag and target.get("tag") == tag:
            chosen[revision] = 100
        elif not tag and target.get("percent"):
            chosen[revision] = chosen.get(revision, 0) + target["percent"]
    namespace = route["metadata"]["namespace"]
    return [
        {
            "serviceName": revision,
            "serviceNamespace": namespace,
            "servicePort": 80,
            "percent": percent,
            "appendHeaders": {
                names.REVISION_HEADER: revision,
                names.NAMESPACE_HEADER: namespace,
            },
        }
        for revision, percent in sorted(chosen.items())
    ]


def service_name(route: Object, tag: str) -> str:
    """Return the name of the Service for a tag, or for the Route itself."""
    name: str = route["metadata"]["name"]
    return f"{tag}-{name}" if tag else name


def placeholders(route: Object, tags: Iterable[str], gateway: str) -> list[Object]:
    """Return the Services which lead a Route's names inside the cluster to the gateway."""
    metadata = route["metadata"]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": service_name(route, tag),
                "namespace": metadata["namespace"],
                "labels": {names.ROUTE: metadata["name"], **_service_label(metadata)},
                "ownerReferences": [owner_reference(route)],
            },
            "spec": {
                "type": "ExternalName",
                "externalName": gateway,
                "sessionAffinity": "None",
                "ports": [{"name": "http2", "port": 80, "protocol": "TCP", "targetPort": 80}],
            },
        }
        for tag in sorted(tags)
    ]


def _service_label(metadata: Object) -> dict[str, str]:
    service = (metadata.get("labels") or {}).get(names.SERVICE)
    return {names.SERVICE: service} if service else {}
