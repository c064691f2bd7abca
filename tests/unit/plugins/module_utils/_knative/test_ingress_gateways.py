"""The gateways that the ConfigMaps of net-gateway-api and net-istio name."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._knative.ingress_gateways import (
    EXTERNAL,
    LOCAL,
    IngressGateway,
    read,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError

ENVOY = """
- class: eg
  gateway: envoy/knative
  service: envoy/knative-external
  supported-features: [HTTPRouteRequestTimeout]
"""


def test_upstream_s_defaults_are_in_place_of_what_is_not_set() -> None:
    external = ("istio-system", "istio-ingressgateway")
    assert read("net-istio", EXTERNAL, {}) == [IngressGateway(external)]
    assert read("net-istio", LOCAL, {}) == [], "its release brings that Service"
    assert read("net-gateway-api", EXTERNAL, {"_example": "x"}) == [
        IngressGateway(external, ("istio-system", "knative-gateway"), "istio")
    ]
    local = ("istio-system", "knative-local-gateway")
    assert read("net-gateway-api", LOCAL, {}) == [IngressGateway(local, local, "istio")]


def test_gateways_are_read_from_yaml() -> None:
    assert read("net-gateway-api", EXTERNAL, {EXTERNAL: ENVOY}) == [
        IngressGateway(("envoy", "knative-external"), ("envoy", "knative"), "eg")
    ]
    elsewhere = "[{class: lb, gateway: edge/knative}]"
    assert read("net-gateway-api", LOCAL, {LOCAL: elsewhere}) == [
        IngressGateway(None, ("edge", "knative"), "lb")
    ]
    service = "[{name: public, namespace: edge, service: public.edge.svc.cluster.local}]"
    assert read("net-istio", EXTERNAL, {EXTERNAL: service}) == [IngressGateway(("edge", "public"))]
    assert read("net-istio", EXTERNAL, {EXTERNAL: "[]"}) == [], "the mesh alone"


def test_the_older_keys_of_net_istio_are_read() -> None:
    older = {
        "gateway.knative-serving.knative-ingress-gateway": "public.edge.svc.cluster.local",
        "local-gateway.knative-serving.knative-local-gateway": "inner.edge.svc.cluster.local.",
    }
    assert read("net-istio", EXTERNAL, older) == [IngressGateway(("edge", "public"))]
    assert read("net-istio", LOCAL, older) == [IngressGateway(("edge", "inner"))]
    assert read("net-gateway-api", EXTERNAL, older) == read("net-gateway-api", EXTERNAL, {})


@pytest.mark.parametrize(
    ("ingress", "text", "said"),
    [
        ("net-gateway-api", "class: istio", "config-gateway: external-gateways is not a list"),
        ("net-gateway-api", "- [", "config-gateway: external-gateways is not a list"),
        ("net-gateway-api", "[{class: istio}]", "each has class and gateway; .* 'gateway'"),
        ("net-gateway-api", "[{class: a, gateway: b}]", "'b', which is not NAMESPACE/NAME"),
        ("net-istio", "[{service: gateway}]", "'gateway', which is not NAME.NAMESPACE.svc"),
        ("net-istio", "[{name: public}]", "each has a service; .* 'service'"),
    ],
)
def test_what_names_no_gateway_is_refused(ingress: str, text: str, said: str) -> None:
    with pytest.raises(KubeError, match=said):
        read(ingress, EXTERNAL, {EXTERNAL: text})
