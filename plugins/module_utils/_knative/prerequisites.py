"""What components need of a cluster that no release of Knative brings. Only reads.

What the caller may not read counts as present.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .._kubernetes.client import Client, Object, look_up, permitted
from .._kubernetes.errors import KubeError
from . import ingress_gateways
from .ingress_gateways import API_VERSION, CONFIG_MAPS, EXTERNAL, LOCAL, Config, IngressGateway

#: Kinds by component, as (API group with or without version, kind), and how to get them.
_KINDS = {
    "net-gateway-api": (
        (
            (API_VERSION, "GatewayClass"),
            (API_VERSION, "Gateway"),
            (API_VERSION, "HTTPRoute"),
            ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
        ),
        "install the standard channel of the Gateway API (standard-install.yaml of"
        " https://github.com/kubernetes-sigs/gateway-api/releases) and an implementation such as Istio,"
        " Contour or Envoy Gateway",
    ),
    "rabbitmq-broker": (
        tuple(
            ("rabbitmq.com/v1beta1", kind)
            for kind in ("RabbitmqCluster", "Exchange", "Queue", "Binding")
        ),
        "install RabbitMQ's cluster operator (https://github.com/rabbitmq/cluster-operator/releases) and its"
        " messaging topology operator (https://github.com/rabbitmq/messaging-topology-operator/releases)",
    ),
    "net-istio": (
        (
            ("networking.istio.io", "Gateway"),
            ("networking.istio.io", "VirtualService"),
            ("networking.istio.io", "DestinationRule"),
            ("security.istio.io", "PeerAuthentication"),
        ),
        "install Istio with an ingress gateway (istioctl install, or istio.yaml of"
        " https://github.com/knative-extensions/net-istio/releases)",
    ),
}
_ISTIOD, _INJECTOR = "app=istiod", "app=sidecar-injector"


def missing_prerequisites(client: Client, components: Collection[str], config: Config) -> list[str]:
    """Return what the components lack, a sentence each; `config` as in the module `knative`."""
    found = []
    for component in components:
        kinds = _missing_kinds(client, component)
        found += kinds
        if component in CONFIG_MAPS and not kinds:
            found += _missing_gateways(client, component, config)
    return found


def _missing_kinds(client: Client, component: str) -> list[str]:
    if component not in _KINDS:
        return []
    kinds, advice = _KINDS[component]
    served = set(client.resources())
    served |= {(version.partition("/")[0], kind) for version, kind in served}
    missing = [f"{kind} ({group})" for group, kind in kinds if (group, kind) not in served]
    if not missing:
        return []
    return [
        f"components: {component} needs {', '.join(missing)}, which the cluster does not serve: {advice}, or"
        " choose another component"
    ]


def _missing_gateways(client: Client, ingress: str, config: Config) -> Iterator[str]:
    name = CONFIG_MAPS[ingress]
    option = f"config.serving.{name}"
    data = ingress_gateways.configuration(client, ingress, config)
    for key in (EXTERNAL, LOCAL):
        try:
            entries = ingress_gateways.read(ingress, key, data)
        except KubeError as error:
            yield f"config.serving.{error}"
            continue
        for entry in entries:
            for what in _absent(client, entry):
                yield (
                    f"{option}: {key} names {what}, which the cluster does not have: create it, or name"
                    " another there"
                )
    if ingress == "net-istio" and not _runs_istio(client):
        yield (
            "components: net-istio needs Istio's control plane, and no namespace has a Deployment labelled"
            f" {_ISTIOD}, nor is one outside the cluster registered: {_KINDS[ingress][1]}"
        )


def _absent(client: Client, entry: IngressGateway) -> Iterator[str]:
    if entry.class_name:
        found = look_up(client, API_VERSION, "GatewayClass", entry.class_name)
        if found is None:
            yield f"the GatewayClass {entry.class_name}"
    for api_version, kind, reference in (
        (API_VERSION, "Gateway", entry.gateway),
        ("v1", "Service", entry.service),
    ):
        if reference and look_up(client, api_version, kind, reference[1], reference[0]) is None:
            yield f"the {kind} {'/'.join(reference)}"


def _runs_istio(client: Client) -> bool:
    """Return whether Istio's control plane runs in the cluster, or one outside injects into its pods."""

    def has(api_version: str, kind: str, label: str) -> bool:
        resource = client.resource(api_version, kind)
        unknown: list[Object] = [{}]
        return bool(permitted(lambda: client.list(resource, label_selector=label), unknown))

    return has("apps/v1", "Deployment", _ISTIOD) or has(
        "admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration", _INJECTOR
    )
