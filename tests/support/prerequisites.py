"""What components need of a cluster that Knative does not bring, without anything that runs."""

from __future__ import annotations

from typing import Any

from support.kube import Object, definition

from ansible_collections.streamops.knative.plugins.module_utils._knative.ingress_gateways import (
    API_VERSION,
)

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def of(kind: str, name: str, space: str, api_version: str = "v1", **more: Any) -> Object:
    """An object; without a namespace where it has none."""
    metadata = {"name": name, **({"namespace": space} if space else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


def exposed(name: str) -> Object:
    """A Service with the ports that Istio's ingress gateway has."""
    ports = [
        {"name": "status-port", "port": 15021},
        {"name": "http2", "port": 80, "nodePort": 31080},
    ]
    return of("Service", name, "istio-system", spec={"type": "LoadBalancer", "ports": ports})


def _opened(kind: str, group: str, version: str = "v1", plural: str = "") -> Object:
    """A definition as its project has it: a status with conditions, whether somebody sets them or not."""
    crd = definition(kind, group)
    (served,) = crd["spec"]["versions"]
    served["name"] = version
    schema = served["schema"]["openAPIV3Schema"]["properties"]
    schema["spec"] = OPEN
    schema["status"]["x-kubernetes-preserve-unknown-fields"] = True
    if group.endswith(".k8s.io"):
        approval = "https://github.com/kubernetes-sigs/gateway-api/pull/2466"
        crd["metadata"]["annotations"] = {"api-approved.kubernetes.io": approval}
    if plural:
        crd["metadata"]["name"] = f"{plural}.{group}"
        crd["spec"]["names"]["plural"] = plural
        crd["spec"]["scope"] = "Cluster"
    return crd


ISTIO = [
    *(
        _opened(kind, "networking.istio.io", "v1beta1")
        for kind in ("Gateway", "VirtualService", "DestinationRule")
    ),
    _opened("PeerAuthentication", "security.istio.io", "v1beta1"),
]
#: Istio's control plane, as far as it is looked for.
ISTIOD: Object = {
    **of("Deployment", "istiod", "istio-system", "apps/v1"),
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "istiod"}},
        "template": {
            "metadata": {"labels": {"app": "istiod"}},
            "spec": {"containers": [{"name": "discovery", "image": "example.com/pilot:1"}]},
        },
    },
}
ISTIOD["metadata"]["labels"] = {"app": "istiod"}
GATEWAY_API = [
    _opened("Gateway", "gateway.networking.k8s.io"),
    _opened("HTTPRoute", "gateway.networking.k8s.io"),
    _opened("GatewayClass", "gateway.networking.k8s.io", plural="gatewayclasses"),
    _opened("ReferenceGrant", "gateway.networking.k8s.io", "v1beta1"),
]
RABBITMQ = [
    _opened("RabbitmqCluster", "rabbitmq.com", "v1beta1"),
    *(_opened(kind, "rabbitmq.com", "v1beta1") for kind in ("Exchange", "Queue", "Binding")),
]
GATEWAY = of(
    "Gateway",
    "knative-gateway",
    "istio-system",
    API_VERSION,
    spec={
        "gatewayClassName": "istio",
        "listeners": [{"name": "web", "port": 8080, "protocol": "HTTP"}],
    },
)
