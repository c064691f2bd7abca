"""Egress rules of the pipelines' NetworkPolicies.

A NetworkPolicy names addresses and labels, not hosts, so what is outside the cluster is narrowed to its
ports. Rules without `to` hold for every address, also where a network plugin does not count nodes and the
API server among those of an ipBlock.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

Rule = dict[str, Any]
DNS: Rule = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}
#: Where the addresses of Knative's Services and Brokers lead: gateway, activator, Broker's ingress.
KNATIVE = ("knative-eventing", "knative-serving", "kourier-system", "istio-system")
DEFAULT_PORTS = {"http": 80, "https": 443, "redis": 6379, "rediss": 6379, "ws": 80, "wss": 443}


def egress(
    urls: Iterable[str], namespaces: Iterable[str] = (), ports: Iterable[int] = ()
) -> list[Rule]:
    """Return the rules that let a pod resolve names and reach some URLs, namespaces and TCP ports.

    A URL of a Service (NAME.NAMESPACE.svc…) counts as its namespace, any other as its port; what is not a
    URL with a host, such as a path, is left out. The URL "*" stands for everything.
    """
    listed = [url.strip() for url in urls]
    if "*" in listed:
        return [{}]
    spaces, numbers = set(namespaces), set(ports)
    for url in listed:
        if namespace := _namespace(url):
            spaces.add(namespace)
        elif port := _port(url):
            numbers.add(port)
    rules = [DNS]
    if numbers:
        rules.append({"ports": [{"protocol": "TCP", "port": port} for port in sorted(numbers)]})
    if spaces:
        expression = {
            "key": "kubernetes.io/metadata.name",
            "operator": "In",
            "values": sorted(spaces.union(KNATIVE)),
        }
        rules.append({"to": [{"namespaceSelector": {"matchExpressions": [expression]}}]})
    return rules


def _namespace(url: str) -> str:
    labels = (urlsplit(url).hostname or "").split(".")
    return labels[1] if len(labels) > 2 and labels[2] == "svc" else ""


def _port(url: str) -> int:
    parts = urlsplit(url)
    return (parts.port or DEFAULT_PORTS.get(parts.scheme, 0)) if parts.hostname else 0
