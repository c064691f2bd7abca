"""Names, node ports and the forward proxy: how pods and people reach Services."""

from __future__ import annotations

import json
import socket
import urllib.request
from typing import Any

import pytest
from support.sandbox import SERVER, Cluster, is_ready, until

CLIENT = """
import json, os, sys, urllib.request
out = []
for url in sys.argv[1:]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            out.append([answer.status, answer.read().decode()])
    except urllib.error.HTTPError as error:
        out.append([error.code, error.read().decode()])
print(json.dumps(out))
"""


def service(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


@pytest.fixture
def server(cluster: Cluster, namespace: str) -> str:
    """A pod behind the Services `web` (NodePort) and `alias` (ExternalName); its name."""
    cluster.apply(
        cluster.python_pod(
            "server",
            namespace,
            SERVER,
            ports=[{"containerPort": 8080, "name": "http"}],
            readinessProbe={"httpGet": {"port": "http"}},
        ),
        service(
            "web",
            namespace,
            type="NodePort",
            selector={"app": "server"},
            ports=[{"port": 80, "targetPort": "http"}],
        ),
        service(
            "alias",
            namespace,
            type="ExternalName",
            externalName=f"web.{namespace}.svc.cluster.local",
        ),
        service("nobody", namespace, selector={"app": "nobody"}, ports=[{"port": 80}]),
    )
    cluster.wait_for_pod("server", namespace, is_ready, "ready")
    until(lambda: endpoints(cluster, namespace, "web"), "its endpoint")
    return "server"


def endpoints(cluster: Cluster, namespace: str, name: str) -> list[str]:
    found = cluster.list(
        "discovery.k8s.io/v1", "EndpointSlice", namespace, f"kubernetes.io/service-name={name}"
    )
    return [
        address
        for part in found
        for endpoint in part.get("endpoints") or []
        if endpoint["conditions"]["ready"]
        for address in endpoint["addresses"]
    ]


def test_a_pod_reaches_services_by_their_names(
    cluster: Cluster, namespace: str, server: str
) -> None:
    hosts = [
        f"web.{namespace}.svc.cluster.local",
        f"web.{namespace}.svc",
        f"web.{namespace}",
        f"alias.{namespace}.svc.cluster.local",
    ]
    urls = [f"http://{host}/path?q=1" for host in hosts]
    urls += [f"http://nobody.{namespace}.svc/", f"http://unknown.{namespace}.svc.cluster.local/"]
    cluster.apply(cluster.python_pod("client", namespace, CLIENT, restartPolicy="Never", args=urls))
    cluster.wait_for_pod("client", namespace, lambda s: s.get("phase") == "Succeeded", "its end")
    *found, nobody, unknown = json.loads(cluster.logs("client", namespace))
    assert found == [[200, f"server /path?q=1 host={host}"] for host in hosts]
    assert nobody[0] == unknown[0] == 503
    assert "no ready endpoint" in nobody[1]


def test_people_reach_node_ports(cluster: Cluster, namespace: str, server: str) -> None:
    (port,) = cluster.get("v1", "Service", "web", namespace)["spec"]["ports"]
    url = f"http://127.0.0.1:{port['nodePort']}/hello"

    def answer() -> str | None:
        """The node hears of the endpoint when this test does: perhaps a moment later."""
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                return response.read().decode()
        except OSError:
            return None

    found = until(answer, "an answer at the node port")
    assert found == f"server /hello host=127.0.0.1:{port['nodePort']}"
    cluster.delete("v1", "Service", "web", namespace)

    def refused() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port["nodePort"])) != 0

    until(refused, "the node port to be closed")


def test_the_proxy_carries_bodies_of_both_kinds_and_tunnels(
    cluster: Cluster, namespace: str, server: str
) -> None:
    code = """
import http.client, os, sys
from urllib.parse import urlsplit
proxy = urlsplit(os.environ["http_proxy"])
target = sys.argv[1]
connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=60)
for size in (0, 1, 100_000):
    body = bytes(range(256)) * (size // 256 + 1)
    for data in (body, iter([body, b"end"])):
        connection.request("POST", f"http://{target}/", data)
        answer = connection.getresponse().read()
        assert answer in (body, body + b"end"), len(answer)
connection.set_tunnel  # and CONNECT:
tunnel = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=60)
tunnel.set_tunnel(target, 80)
tunnel.request("GET", "/through")
print(tunnel.getresponse().read().decode())
"""
    host = f"web.{namespace}.svc.cluster.local"
    cluster.apply(cluster.python_pod("client", namespace, code, restartPolicy="Never", args=[host]))
    pod = cluster.wait_for_pod(
        "client", namespace, lambda s: s.get("phase") in ("Succeeded", "Failed"), "its end"
    )
    log = cluster.logs("client", namespace)
    assert pod["status"]["phase"] == "Succeeded", log
    assert log.startswith("server /through")


def test_a_pod_that_is_not_ready_gets_no_traffic(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        cluster.python_pod(
            "slow",
            namespace,
            f"import pathlib, time\nwhile not pathlib.Path('/shared/ready').exists(): time.sleep(0.1)\n{SERVER}",
            readinessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1},
            volumeMounts=[{"name": "shared", "mountPath": "/shared"}],
            pod={
                "terminationGracePeriodSeconds": 0,
                "volumes": [{"name": "shared", "configMap": {"name": "slow", "optional": True}}],
            },
        ),
        service("slow", namespace, selector={"app": "slow"}, ports=[{"port": 80}]),
    )
    slow = ("discovery.k8s.io/v1", "EndpointSlice", namespace, "kubernetes.io/service-name=slow")
    found = until(
        lambda: [entry for part in cluster.list(*slow) for entry in part.get("endpoints") or []],
        "an endpoint",
    )
    assert found[0]["conditions"]["ready"] is False
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "slow", "namespace": namespace},
            "data": {"ready": ""},
        }
    )
    until(lambda: endpoints(cluster, namespace, "slow"), "a ready endpoint")


def test_a_load_balancer_is_the_node(cluster: Cluster, namespace: str) -> None:
    cluster.apply(
        service("lb", namespace, type="LoadBalancer", selector={"a": "b"}, ports=[{"port": 80}])
    )
    until(
        lambda: cluster.get("v1", "Service", "lb", namespace)["status"]["loadBalancer"].get(
            "ingress"
        ),
        "an address",
    )
    found = cluster.get("v1", "Service", "lb", namespace)
    assert found["status"]["loadBalancer"]["ingress"][0]["ip"] == "127.0.0.1"
    assert found["spec"]["ports"][0]["nodePort"]
