"""How the Brokers and channels of eventing-kafka-broker reach Kafka.

`options` are those of the option `kafka` of the module `knative`. Keys of ConfigMaps and Secrets are those of
https://knative.dev/docs/eventing/brokers/broker-types/kafka-broker/. Only reads.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .._kubernetes.client import Client, Object, look_up, permitted
from .releases import PROJECTS

BROKER_CONFIG, CHANNEL_CONFIG = "kafka-broker-config", "kafka-channel-config"
_NAMESPACE = PROJECTS["kafka_broker"].namespace
#: Components that read Kafka's address from those ConfigMaps; sources and sinks name it themselves.
_CONNECTED = ("kafka-broker", "kafka-channel")
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_SERVICE_LABEL = "kubernetes.io/service-name"
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]")
_LAST_PORT = 65535
#: The mechanism that takes tokens: of a provider, or of a login module that the Secret names.
_OAUTH = "OAUTHBEARER"


def config_maps(options: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return the data to set, by ConfigMap; nothing of what is not given."""
    secret = options.get("auth_secret") or ""
    common = {
        "bootstrap.servers": ",".join(options.get("bootstrap_servers") or []),
        "auth.secret.ref.name": secret,
    }
    broker = {
        **common,
        "default.topic.partitions": str(options.get("topic_partitions") or ""),
        "default.topic.replication.factor": str(options.get("topic_replication_factor") or ""),
    }
    channel = {**common, "auth.secret.ref.namespace": _NAMESPACE if secret else ""}
    found = {}
    for name, data in ((BROKER_CONFIG, broker), (CHANNEL_CONFIG, channel)):
        if given := {key: value for key, value in data.items() if value}:
            found[name] = given
    return found


def problems(client: Client, components: Collection[str], options: Mapping[str, Any]) -> list[str]:
    """Return why the chosen components would not reach Kafka, a sentence each."""
    connected = [name for name in _CONNECTED if name in components]
    if not connected:
        unread = f"kafka: none of the components reads it: add {' or '.join(_CONNECTED)} to components, or leave it out"
        return [unread] if any(options.values()) else []
    servers = options.get("bootstrap_servers") or []
    found = [problem for server in servers if (problem := _unreachable(client, server))]
    if not servers:
        found.append(
            f"kafka.bootstrap_servers: required with {' and '.join(connected)}: HOST:PORT of Kafka's brokers,"
            " for example my-cluster-kafka-bootstrap.kafka:9092"
        )
    if options.get("auth_secret"):
        found += _secret_problems(client, options["auth_secret"])
    return found


def _unreachable(client: Client, server: str) -> str:
    """Return why a bootstrap server cannot be reached; empty where it can, or where only the nodes know it."""
    host, _colon, port = server.rpartition(":")
    begin = f"kafka.bootstrap_servers: {server}"
    is_port = port.isdecimal() and 0 < int(port) <= _LAST_PORT
    if not host or not is_port or (":" in host and not _IPV6.fullmatch(host)):
        return f"{begin} is not HOST:PORT"
    labels = host.split(".")
    if len(labels) != 2 and labels[2:3] != ["svc"]:
        return ""  # an address outside the cluster, which may be reached from its nodes only
    name, namespace = labels[:2]
    service = look_up(client, "v1", "Service", name, namespace)
    if service == {}:
        return ""
    if service is None:
        if len(labels) == 2 and _resolves(host):
            return ""
        outside = (
            f"; a host outside the cluster is written {host}.:{port}" if len(labels) == 2 else ""
        )
        return (
            f"{begin} cannot be reached: there is no Service {name} in namespace {namespace}: start Kafka"
            f" first, or name the Service of its bootstrap listener{outside}"
        )
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return ""
    ports = [entry["port"] for entry in spec.get("ports") or []]
    # The name of a headless one leads to its pods, whatever ports it lists.
    if int(port) not in ports and spec.get("clusterIP") != "None":
        listed = ", ".join(map(str, ports)) or "none"
        return f"{begin} cannot be reached: the Service {namespace}/{name} has no port {port}; its ports are {listed}"
    if _has_endpoint(client, name, namespace):
        return ""
    return (
        f"{begin} cannot be reached: the Service {namespace}/{name} has no ready endpoint: see why Kafka's pods"
        f" do not run (kubectl -n {namespace} get pods), or name another Kafka"
    )


def _resolves(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None))
    except OSError:
        return False


def _has_endpoint(client: Client, name: str, namespace: str) -> bool:
    resource = client.resource("discovery.k8s.io/v1", "EndpointSlice")
    unknown: list[Object] = [{"endpoints": [{}]}]
    slices = permitted(
        lambda: client.list(resource, namespace, label_selector=f"{_SERVICE_LABEL}={name}"), unknown
    )
    return any(
        (endpoint.get("conditions") or {}).get("ready") is not False
        for part in slices
        for endpoint in part.get("endpoints") or []
    )


def _secret_problems(client: Client, name: str) -> Iterator[str]:
    """Return what Knative would not find in the Secret; never what is in it."""
    secret = look_up(client, "v1", "Secret", name, _NAMESPACE)
    begin = f"kafka.auth_secret: the Secret {name} in namespace {_NAMESPACE}"
    if secret is None:
        yield f"{begin} does not exist: create it first, with the key protocol and what that needs"
    if not secret:
        return
    data: dict[str, str] = secret.get("data") or {}
    protocol = _text(data.get("protocol", ""))
    if protocol not in _PROTOCOLS:
        space = ", without spaces and line breaks" if protocol.strip() in _PROTOCOLS else ""
        yield f"{begin}: its key protocol has to be one of {', '.join(_PROTOCOLS)}{space}"
        return
    needed = []
    if protocol.startswith("SASL"):
        needed.append("sasl.mechanism")
        if _text(data.get("sasl.mechanism", "")) != _OAUTH:
            needed += ["user", "password"]
    elif protocol == "SSL" and _text(data.get("user.skip", "")).lower() != "true":
        needed += ["user.crt", "user.key"]
    missing = [key for key in needed if not data.get(key)]
    if missing:
        hint = " (or user.skip: true, without a client certificate)" if protocol == "SSL" else ""
        yield f"{begin} lacks {', '.join(missing)}, which {protocol} needs{hint}"


def _text(encoded: str) -> str:
    try:
        return base64.b64decode(encoded).decode()
    except (binascii.Error, ValueError):
        return ""
