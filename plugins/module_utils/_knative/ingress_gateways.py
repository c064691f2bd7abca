"""Gateways of the ingresses that bring none of their own, as their ConfigMaps in knative-serving name them.

Keys, forms and defaults are those of pkg/reconciler/ingress/config in
https://github.com/knative-extensions/net-gateway-api and https://github.com/knative-extensions/net-istio.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import _yaml
from .._kubernetes.client import Client, look_up
from .._kubernetes.errors import KubeError
from .._module.errors import TaskError
from .releases import PROJECTS

#: By component, the ConfigMap that names the gateways.
CONFIG_MAPS = {"net-gateway-api": "config-gateway", "net-istio": "config-istio"}
API_VERSION = "gateway.networking.k8s.io/v1"
EXTERNAL, LOCAL = "external-gateways", "local-gateways"
_ISTIO = "istio-system"
#: In place of a key that is not set.
_DEFAULTS: dict[tuple[str, str], list[dict[str, str]]] = {
    ("net-gateway-api", EXTERNAL): [
        {
            "class": "istio",
            "gateway": f"{_ISTIO}/knative-gateway",
            "service": f"{_ISTIO}/istio-ingressgateway",
        }
    ],
    ("net-gateway-api", LOCAL): [
        {
            "class": "istio",
            "gateway": f"{_ISTIO}/knative-local-gateway",
            "service": f"{_ISTIO}/knative-local-gateway",
        }
    ],
    ("net-istio", EXTERNAL): [{"service": f"istio-ingressgateway.{_ISTIO}.svc.cluster.local"}],
    ("net-istio", LOCAL): [],  # its release brings the Service
}
#: Beginnings of the keys of net-istio's older form, with a gateway's name behind and its Service as the value.
_OLDER = {EXTERNAL: "gateway.", LOCAL: "local-gateway."}
Config = Mapping[str, Mapping[str, Mapping[str, Any]]]
Reference = tuple[str, str]  # namespace and name


@dataclass(frozen=True)
class IngressGateway:
    """One entry; `gateway` is a Gateway of the Gateway API, and `class_name` its GatewayClass."""

    service: Reference | None
    gateway: Reference | None = None
    class_name: str = ""


def configuration(client: Client, ingress: str, config: Config) -> dict[str, Any]:
    """Return the data of an ingress's ConfigMap as it will be: what is asked for on top of what is there.

    `config` is the option of the module `knative`. What may not be read counts as empty.
    """
    name = CONFIG_MAPS[ingress]
    there = look_up(client, "v1", "ConfigMap", name, PROJECTS["serving"].namespace) or {}
    asked = (config.get("serving") or {}).get(name) or {}
    return {**(there.get("data") or {}), **asked}


def read(ingress: str, key: str, data: Mapping[str, Any]) -> list[IngressGateway]:
    """Return the gateways that a key of an ingress's ConfigMap names; KubeError where it cannot be read."""
    text = str(data.get(key) or "")
    problem = f"{CONFIG_MAPS[ingress]}: {key} is not a list of gateways in YAML"
    try:
        listed = next((value for _line, value in _yaml.documents(text)), None) if text else None
    except TaskError as error:
        raise KubeError(f"{problem}: {error}") from error
    entries = _of_older_keys(ingress, key, data) if listed is None else listed
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise KubeError(problem)
    try:
        if ingress == "net-istio":
            return [IngressGateway(_service(entry["service"])) for entry in entries]
        return [
            IngressGateway(
                _pair(entry["service"]) if entry.get("service") else None,
                _pair(entry["gateway"]),
                str(entry["class"]),
            )
            for entry in entries
        ]
    except (KeyError, ValueError) as error:
        raise KubeError(
            f"{problem}: each has {'a service' if ingress == 'net-istio' else 'class and gateway'}; wrong or"
            f" missing is {error}"
        ) from error


def _of_older_keys(ingress: str, key: str, data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the gateways that keys of the older form name, upstream's defaults where there are none."""
    prefix = _OLDER[key]
    named = {
        name: text
        for name, text in sorted(data.items())
        if ingress == "net-istio" and name.startswith(prefix) and name != prefix
    }
    return [{"service": str(text)} for text in named.values()] or _DEFAULTS[ingress, key]


def _pair(text: Any) -> Reference:
    namespace, _slash, name = str(text).partition("/")
    if not namespace or not name:
        raise ValueError(f"'{text}', which is not NAMESPACE/NAME")
    return namespace, name


def _service(text: Any) -> Reference:
    name, _dot, rest = str(text).partition(".")
    namespace = rest.partition(".")[0]
    if not namespace:
        raise ValueError(f"'{text}', which is not NAME.NAMESPACE.svc.cluster.local")
    return namespace, name
