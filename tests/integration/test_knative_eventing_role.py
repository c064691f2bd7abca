"""The role knative_eventing on a cluster of the sandbox, from installing to leaving nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from support.http_server import serving
from support.kube import (
    KNATIVE,
    Kube,
    Object,
    cluster,
    config_map,
    definition,
    deployment,
    namespace,
    sandbox_only,
)
from support.prerequisites import GATEWAY, GATEWAY_API, ISTIO, ISTIOD, RABBITMQ, exposed, of
from support.site import BIN, ROOT, recap
from support.tls import issue

from streamops_sandbox.knative import release

REPOSITORIES = {
    "knative/serving": ("1.22.0", "1.23.0"),
    "knative/eventing": ("1.22.2", "1.23.0"),
    "knative-extensions/net-kourier": ("1.22.0", "1.23.0"),
    "knative-extensions/net-gateway-api": ("1.23.0",),
    "knative-extensions/net-istio": ("1.22.1",),
    "knative-extensions/eventing-kafka-broker": ("1.22.0", "1.23.1"),
    "knative-extensions/eventing-rabbitmq": ("1.19.6",),
}
FILES = (
    *("serving-crds", "serving-core", "serving-hpa", "serving-post-install-jobs", "kourier"),
    *("net-gateway-api", "net-istio", "rabbitmq-broker"),
    *(f"eventing-kafka-{part}" for part in ("controller", "broker", "channel", "sink", "source")),
    "eventing-kafka-post-install",
    *("eventing-crds", "eventing-core", "in-memory-channel", "mt-channel-broker"),
    "eventing-post-install",
)
COMPONENTS = ["serving", "kourier", "eventing", "in-memory-channel", "mt-channel-broker"]
OLD = {
    "knative_eventing_version": "1.22.2",
    "knative_eventing_serving_version": "1.22.0",
    "knative_eventing_kourier_version": "1.22.0",
}


stand_ins = sandbox_only("it builds the programs of one release of Knative, and this takes two")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Nothing to log in tests."""


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A mirror of the sandbox's own releases, with upstream's layout."""
    root = tmp_path_factory.mktemp("mirror")
    for repository, versions in REPOSITORIES.items():
        for version in versions:
            folder = root / repository / "releases" / "download" / f"knative-v{version}"
            folder.mkdir(parents=True)
            for name in FILES:
                text = release.render(repository, version, name)
                if text is not None:
                    (folder / f"{name}.yaml").write_text(text)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


class Role:
    """The role, run by ansible-playbook against one cluster."""

    def __init__(self, kube: Kube, folder: Path, mirror: str) -> None:
        self.kube = kube
        self._playbook = folder / "play.yml"
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "roles": ["streamops.knative.knative_eventing"],
            "tasks": [
                {"ansible.builtin.debug": {"var": "knative_eventing_endpoint"}},
                {
                    "ansible.builtin.debug": {
                        "msg": "OUTCOME={{ _knative_eventing_result | to_json | b64encode }}"
                    },
                    "when": "show_outcome | default(false)",
                },
            ],
        }
        self._playbook.write_text(json.dumps([play]))
        self._variables = {
            "kubeconfig": str(kube.kubeconfig),
            "knative_eventing_mirror": mirror,
            "knative_eventing_cache_dir": str(folder / "cache"),
            "knative_eventing_domain": "localhost",
            "knative_eventing_gateway": "node_port",
            "knative_eventing_timeout": 200,
        }

    def run(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run it; whether it fails is the caller's to judge."""
        return subprocess.run(
            [
                str(BIN / "ansible-playbook"),
                *("-i", "localhost,", "-c", "local", str(self._playbook)),
                *("-e", json.dumps({**self._variables, **variables}), *arguments),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    def changes(self, *arguments: str, **variables: Any) -> int:
        """Run it; number of tasks that changed something. It must not fail."""
        done = self.run(*arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return recap(done.stdout)["localhost"]["changed"]

    def outcome(self, *arguments: str, **variables: Any) -> Object:
        """Run it; what the task that installs has returned."""
        done = self.run(*arguments, show_outcome=True, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        (encoded,) = re.findall(r"OUTCOME=([A-Za-z0-9+/=]+)", done.stdout)
        outcome: Object = json.loads(base64.b64decode(encoded))
        return outcome

    def refusal(self, *arguments: str, **variables: Any) -> str:
        """Run it; what it says when it fails, as it must."""
        done = self.run(*arguments, **variables)
        assert done.returncode != 0, done.stdout
        return " ".join((done.stdout + done.stderr).split())

    def data(self, name: str, namespace: str) -> dict[str, str]:
        """Data of a ConfigMap."""
        found = self.kube.get("v1", "ConfigMap", name, namespace)
        assert found is not None
        data: dict[str, str] = found["data"]
        return data


@pytest.fixture
def role(tmp_path: Path, mirror: str) -> Iterator[Role]:
    with cluster(tmp_path / "cluster") as kube:
        yield Role(kube, tmp_path, mirror)


def cluster_scoped(kube: Kube) -> set[str]:
    """Everything outside of namespaces, and the namespaces."""
    client = kube.connect()
    return {
        f"{resource.kind} {obj['metadata']['name']}"
        for resource in client.resources().values()
        if not resource.namespaced and "list" in resource.verbs and "delete" in resource.verbs
        for obj in client.list(resource)
    }


def pod_monitors() -> Object:
    """The Prometheus Operator's definition, as far as it matters here."""
    open_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    crd = definition("PodMonitor", group="monitoring.coreos.com")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"] = {"spec": open_object}
    return crd


BROKER = {
    "apiVersion": "eventing.knative.dev/v1",
    "kind": "Broker",
    "metadata": {"name": "people", "namespace": "default"},
}
BINDING = {
    "apiVersion": "sources.knative.dev/v1",
    "kind": "SinkBinding",
    "metadata": {"name": "bound", "namespace": "default"},
    "spec": {
        "subject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "subject"},
        "sink": {"uri": "http://sink.example.com"},
    },
}


def subject() -> Object:
    """A Deployment to bind; it runs nothing."""
    made = deployment("subject")
    made["spec"]["replicas"] = 0
    return made


def environment_of_the_subject(kube: Kube) -> list[str]:
    """Names of the variables of its container."""
    found = kube.get("apps/v1", "Deployment", "subject", "default")
    assert found is not None
    (container,) = found["spec"]["template"]["spec"]["containers"]
    return [variable["name"] for variable in container.get("env") or []]


@stand_ins
@pytest.mark.timeout(600)
def test_from_installing_over_an_upgrade_to_leaving_nothing(role: Role) -> None:
    before = cluster_scoped(role.kube)

    foreseen = role.changes("--check", **OLD)
    assert foreseen > 0
    assert cluster_scoped(role.kube) == before

    first = role.run(**OLD)
    assert first.returncode == 0, first.stdout + first.stderr
    assert recap(first.stdout)["localhost"]["changed"] == foreseen
    assert "domain: localhost" in first.stdout
    service = role.kube.get("v1", "Service", "kourier", "kourier-system")
    assert service is not None
    ports = {port["name"]: port for port in service["spec"]["ports"]}
    assert f"port: {ports['http2']['nodePort']}" in first.stdout
    assert role.data("config-network", "knative-serving")["ingress-class"].startswith("kourier.")
    assert role.data("config-domain", "knative-serving")["localhost"] == ""
    assert role.changes(**OLD) == 0

    two_steps = role.refusal(**{**OLD, "knative_eventing_version": "1.24.0"})
    assert "eventing_version: 1.22.2 is installed" in two_steps
    assert "one minor release at a time: set the newest 1.23.x first" in two_steps

    assert role.changes() == 1
    jobs = role.kube.connect()
    names = [job["metadata"]["name"] for job in jobs.list(jobs.resource("batch/v1", "Job"))]
    assert any(name.startswith("storage-version-migration-serving-") for name in names)
    assert role.data("streamops-knative-release", "knative-serving") == {"serving": "1.23.0"}
    assert role.changes() == 0

    role.kube.apply(BROKER, subject(), BINDING, wait=True, wait_timeout=100)
    assert "K_SINK" in environment_of_the_subject(role.kube)
    refused = role.refusal(knative_eventing_state="absent")
    assert "Broker default/people would be deleted" in refused
    assert "SinkBinding default/bound would be deleted" in refused
    assert role.changes(knative_eventing_state="absent", knative_eventing_delete_resources=True)
    assert cluster_scoped(role.kube) == before
    assert "K_SINK" not in environment_of_the_subject(role.kube), "bindings are undone first"
    assert role.changes(knative_eventing_state="absent") == 0


class Autopilot(BaseHTTPRequestHandler):
    """Rewrites workloads as GKE Autopilot does.

    Requests are raised to its minimum, limits are set to them, a runtime profile and tolerations are added, and
    annotations record what was asked for.
    """

    LEAST: ClassVar[dict[str, str]] = {"cpu": "50m", "memory": "52Mi", "ephemeral-storage": "1Gi"}

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        workload = review["request"]["object"]
        asked = [
            {"name": container["name"], "resources": container.get("resources", {})}
            for container in workload["spec"]["template"]["spec"]["containers"]
        ]
        record = {
            "autopilot.gke.io/resource-adjustment": json.dumps({"input": asked, "modified": True}),
            "autopilot.gke.io/warden-version": "3.0.1",
        }
        annotations = {**(workload["metadata"].get("annotations") or {}), **record}
        patch = [
            {"op": "add", "path": "/metadata/annotations", "value": annotations},
            {"op": "add", "path": "/spec/template/spec", "value": self._pod(workload)},
        ]
        answer = {
            "uid": review["request"]["uid"],
            "allowed": True,
            "patchType": "JSONPatch",
            "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
        }
        body = json.dumps({**review, "request": None, "response": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pod(self, workload: Object) -> Object:
        pod: Object = workload["spec"]["template"]["spec"]
        arch = {"key": "kubernetes.io/arch", "operator": "Equal", "value": "amd64"}
        others = [entry for entry in pod.get("tolerations") or [] if entry != arch]
        security = {**(pod.get("securityContext") or {})}
        security.setdefault("seccompProfile", {"type": "RuntimeDefault"})
        containers = []
        for container in pod["containers"]:
            requests = {**self.LEAST, **((container.get("resources") or {}).get("requests") or {})}
            if requests["cpu"] == "10m":
                requests["cpu"] = self.LEAST["cpu"]
            resources = {"requests": requests, "limits": requests}
            containers.append({**container, "resources": resources})
        return {
            **pod,
            "tolerations": [*others, arch],
            "securityContext": security,
            "containers": containers,
        }

    def log_message(self, *_args: Any) -> None:
        """Nothing to log in tests."""


@contextmanager
def autopilot(kube: Kube, folder: Path) -> Iterator[None]:
    """Have workloads of a cluster rewritten."""
    ca, certificate = issue("localhost", folder)
    with serving(Autopilot, certificate) as server:
        kube.apply(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "workload-defaulter.config.common-webhooks.networking.gke.io"},
                "webhooks": [
                    {
                        "name": "workload-defaulter.common-webhooks.networking.gke.io",
                        "clientConfig": {
                            "url": f"https://localhost:{server.server_port}/",
                            "caBundle": base64.b64encode(ca.encode()).decode(),
                        },
                        "rules": [
                            {
                                "apiGroups": ["apps"],
                                "apiVersions": ["v1"],
                                "operations": ["CREATE", "UPDATE"],
                                "resources": ["deployments", "statefulsets"],
                            }
                        ],
                        "admissionReviewVersions": ["v1"],
                        "sideEffects": "None",
                    }
                ],
            }
        )
        yield


@stand_ins
@pytest.mark.timeout(600)
def test_what_autopilot_rewrites_is_no_change(role: Role, tmp_path: Path) -> None:
    resources = [{"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}}]
    variables = {
        "knative_eventing_components": ["serving", "kourier"],
        "knative_eventing_autopilot": True,
        "knative_eventing_workloads": [{"name": "all", "resources": resources}],
    }
    with autopilot(role.kube, tmp_path):
        assert role.changes(**variables) == 1
        controller = role.kube.get("apps/v1", "Deployment", "controller", "knative-serving")
        assert controller is not None
        (container,) = controller["spec"]["template"]["spec"]["containers"]
        rewritten = {"cpu": "50m", "memory": "64Mi", "ephemeral-storage": "1Gi"}
        assert container["resources"] == {"requests": rewritten, "limits": rewritten}
        assert role.changes(**variables) == 0
        assert role.changes("--check", **variables) == 0
        resources[0]["requests"]["memory"] = "96Mi"
        assert role.changes(**variables) == 1
        assert role.changes(**variables) == 0


@stand_ins
@pytest.mark.timeout(600)
def test_configuration_components_and_ownership(role: Role) -> None:
    role.kube.apply(pod_monitors(), wait=True)
    serving = {"knative_eventing_components": ["serving", "kourier"]}
    resources = [{"container": "controller", "limits": {"memory": "512Mi"}}]
    role.changes(
        knative_eventing_config={
            "serving": {"config-features": {"kubernetes.podspec-nodeselector": "enabled"}}
        },
        knative_eventing_observability={
            "metrics-protocol": "prometheus",
            "tracing-protocol": "grpc",
            "tracing-endpoint": "collector.observability:4317",
        },
        knative_eventing_workloads=[{"name": "controller", "replicas": 2, "resources": resources}],
        knative_eventing_domain="",
        **serving,
    )
    found = role.kube.get("v1", "ConfigMap", "config-domain", "knative-serving")
    assert found is not None
    assert set(found.get("data") or {}) <= {"_example"}, "no domain was asked for"
    features = role.data("config-features", "knative-serving")
    assert features["kubernetes.podspec-nodeselector"] == "enabled"
    observability = role.data("config-observability", "knative-serving")
    assert observability["metrics-protocol"] == "prometheus"
    assert observability["tracing-endpoint"] == "collector.observability:4317"
    controller = role.kube.get("apps/v1", "Deployment", "controller", "knative-serving")
    assert controller is not None
    assert controller["status"]["availableReplicas"] == 2
    (container,) = controller["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "512Mi"
    assert role.kube.get("v1", "Namespace", "knative-eventing") is None
    monitors = ("monitoring.coreos.com/v1", "PodMonitor", "knative-serving", "knative-serving")
    assert role.kube.get(*monitors), "made where the Prometheus Operator is"


@stand_ins
@pytest.mark.timeout(600)
def test_the_ingress_is_changed_and_only_its_own_objects_go(role: Role) -> None:
    def ingress() -> str:
        return role.data("config-network", "knative-serving")["ingress-class"].partition(".")[0]

    def workloads() -> set[str]:
        client = role.kube.connect()
        listed = client.list(client.resource("apps/v1", "Deployment"))
        return {name for item in listed if "-" in (name := item["metadata"]["name"])}

    istio = {"knative_eventing_components": ["serving", "net-istio"]}
    theirs = "{class: istio, gateway: istio-system/knative-gateway, service: istio-system/istio-ingressgateway}"
    gateways = dict.fromkeys(("external-gateways", "local-gateways"), f"[{theirs}]")
    gateway_api = {
        "knative_eventing_components": ["serving", "net-gateway-api"],
        "knative_eventing_domain": "sslip.io",
        "knative_eventing_gateway": "load_balancer",
        "knative_eventing_gateway_address": "192.0.2.1",
        "knative_eventing_config": {"serving": {"config-gateway": gateways}},
    }
    role.changes(knative_eventing_components=["serving", "kourier"])
    kourier = {"3scale-kourier-gateway", "net-kourier-controller"}
    assert workloads() == kourier

    refused = role.refusal(**istio)
    assert "knative_eventing_components: net-istio needs Gateway (networking.istio.io)" in refused
    role.kube.apply(*ISTIO, *GATEWAY_API, namespace("istio-system"), wait=True)
    others = [exposed("istio-ingressgateway"), ISTIOD, GATEWAY]
    role.kube.apply(*others, of("GatewayClass", "istio", "", GATEWAY["apiVersion"], spec={}))
    assert "gateway_node_port: a setting of Kourier's Service" in role.refusal(
        knative_eventing_gateway_node_port=31081, **istio
    )
    assert ingress() == "kourier", "nothing was touched"

    foreseen = role.run("--check", **istio)
    assert recap(foreseen.stdout)["localhost"]["changed"] == 1, foreseen.stdout
    assert workloads() == kourier
    changed = role.run(**istio)
    assert recap(changed.stdout)["localhost"]["changed"] == 1, changed.stdout
    assert ingress() == "istio"
    assert workloads() == {"net-istio-controller", "net-istio-webhook"}
    assert role.kube.get("v1", "Namespace", "kourier-system") is None
    assert role.data("config-domain", "knative-serving")["localhost"] == ""
    assert "port: 31080" in changed.stdout, "of Istio's Service"
    assert role.changes(**istio) == 0
    local = ("v1", "Service", "knative-local-gateway", "istio-system")
    assert role.kube.get(*local)

    assert role.changes(**gateway_api) == 1
    assert ingress() == "gateway-api"
    assert workloads() == {"net-gateway-api-controller", "net-gateway-api-webhook"}
    assert "192.0.2.1.sslip.io" in role.data("config-domain", "knative-serving")
    assert role.kube.get(*local) is None
    for item in others:
        metadata = item["metadata"]
        left = role.kube.get(item["apiVersion"], item["kind"], metadata["name"], "istio-system")
        assert left, metadata
        assert "applyset.kubernetes.io/part-of" not in (left["metadata"].get("labels") or {})
    assert role.changes(**gateway_api) == 0
    role.changes(knative_eventing_state="absent")
    assert role.kube.get("v1", "Service", "istio-ingressgateway", "istio-system")


#: A Kafka as far as the sandbox wants one: something that takes connections.
KAFKA = [
    namespace("messaging"),
    of("Service", "kafka", "messaging", spec={"ports": [{"port": 9092}]}),
]
ON_KAFKA = {**BROKER, "metadata": {"name": "durable", "namespace": "default"}}


@stand_ins
@pytest.mark.timeout(600)
def test_brokers_on_kafka_and_rabbitmq_install_themselves(role: Role) -> None:
    kafka = [f"kafka-{part}" for part in ("controller", "broker", "channel", "sink", "source")]
    given: dict[str, Any] = {
        "knative_eventing_components": ["eventing", *kafka, "rabbitmq-broker"],
        "knative_eventing_kafka": {
            "bootstrap_servers": ["kafka.messaging:9092"],
            "auth_secret": "kafka-credentials",
            "topic_partitions": 4,
            "topic_replication_factor": 1,
        },
        "knative_eventing_kafka_broker_version": "1.22.0",
        "knative_eventing_broker_class": "Kafka",
    }
    refused = role.refusal(**given)
    for said in (
        "knative_eventing_components: rabbitmq-broker needs RabbitmqCluster (rabbitmq.com/v1beta1)",
        "knative_eventing_kafka.bootstrap_servers: kafka.messaging:9092 cannot be reached",
        "knative_eventing_kafka.auth_secret: the Secret kafka-credentials in namespace",
    ):
        assert said in refused
    unknown = role.refusal(
        knative_eventing_components=["eventing", "kafka-controller"],
        knative_eventing_kafka_broker_version="1.23.77",
    )
    assert "knative-v1.23.77/eventing-kafka-controller.yaml" in unknown
    assert role.kube.get("v1", "Namespace", "knative-eventing") is None, "nothing was touched"

    secret = of("Secret", "kafka-credentials", "knative-eventing")
    secret["stringData"] = {"protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
    secret["stringData"] |= {"user": "knative", "password": "a secret of Kafka's"}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoints = of("EndpointSlice", "kafka-1", "messaging", "discovery.k8s.io/v1")
        endpoints["metadata"]["labels"] = {"kubernetes.io/service-name": "kafka"}
        endpoints |= {
            "addressType": "IPv4",
            "ports": [{"port": listener.getsockname()[1]}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        }
        role.kube.apply(*KAFKA, endpoints, namespace("knative-eventing"), secret)
        role.kube.apply(*RABBITMQ, wait=True)

        foreseen = role.changes("--check", **given)
        done = role.run(**given)
        assert done.returncode == 0, done.stdout + done.stderr
        assert recap(done.stdout)["localhost"]["changed"] == foreseen == 1
        assert "a secret of Kafka's" not in done.stdout + done.stderr
        assert role.data("kafka-broker-config", "knative-eventing") == {
            "bootstrap.servers": "kafka.messaging:9092",
            "auth.secret.ref.name": "kafka-credentials",
            "default.topic.partitions": "4",
            "default.topic.replication.factor": "1",
        }
        assert role.changes(**given) == 0
        role.kube.apply(ON_KAFKA, wait=True, wait_timeout=100)
    made = role.kube.get("eventing.knative.dev/v1", "Broker", "durable", "default")
    assert made is not None
    assert made["metadata"]["annotations"]["eventing.knative.dev/broker.class"] == "Kafka"
    assert made["spec"]["config"]["name"] == "kafka-broker-config", "as the defaults say"

    given["knative_eventing_kafka_broker_version"] = "1.23.1"
    assert role.changes(**given) == 1
    jobs = role.kube.connect()
    names = [job["metadata"]["name"] for job in jobs.list(jobs.resource("batch/v1", "Job"))]
    assert any(name.startswith("knative-kafka-storage-version-migrator-") for name in names)
    assert role.data("streamops-knative-release", "knative-eventing") == {
        "eventing": "1.23.0",
        "kafka_broker": "1.23.1",
    }
    assert role.changes(**given) == 0

    role.kube.apply(ON_KAFKA, state="absent", wait=True)
    without = {**given, "knative_eventing_components": ["eventing", "rabbitmq-broker"]}
    del without["knative_eventing_kafka"], without["knative_eventing_broker_class"]
    assert role.changes(**without) == 1
    client = role.kube.connect()
    listed = client.list(client.resource("apps/v1", "Deployment"), "knative-eventing")
    left = {item["metadata"]["name"] for item in listed}
    assert left >= {"eventing-controller", "rabbitmq-broker-controller", "rabbitmq-broker-webhook"}
    assert not any(name.startswith("kafka-") for name in left)
    assert ("sources.knative.dev/v1", "KafkaSource") not in client.resources()


#: Every field of a probe that may be set, of both kinds.
TIMING = {
    "initialDelaySeconds": 1,
    "periodSeconds": 7,
    "timeoutSeconds": 3,
    "successThreshold": 1,
    "failureThreshold": 9,
}
LIVENESS = {**TIMING, "terminationGracePeriodSeconds": 20}
AFFINITY = {
    "nodeAffinity": {
        "preferredDuringSchedulingIgnoredDuringExecution": [
            {
                "weight": 1,
                "preference": {"matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]},
            }
        ]
    }
}
TOLERATION = {"key": "dedicated", "operator": "Exists"}
SPREAD = {
    "maxSkew": 1,
    "topologyKey": "kubernetes.io/hostname",
    "whenUnsatisfiable": "ScheduleAnyway",
}
#: Every setting, by variable.
SETTINGS: Object = {
    "knative_eventing_config": {"serving": {"config-features": {"multi-container": "enabled"}}},
    "knative_eventing_observability": {"tracing-endpoint": "collector.observability:4317"},
    "knative_eventing_gateway_service_type": "NodePort",
    "knative_eventing_gateway_annotations": {"example.com/gateway": "ours"},
    "knative_eventing_workloads": [
        {
            "name": "all",
            "replicas": 2,
            "labels": {"team": "platform"},
            "tolerations": [TOLERATION],
            "topologySpreadConstraints": [SPREAD],
        },
        {
            "name": "controller",
            "annotations": {"example.com/note": "ours"},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "affinity": AFFINITY,
            "resources": [{"requests": {"cpu": "10m"}, "limits": {"memory": "512Mi"}}],
            "env": [{"container": "controller", "variables": [{"name": "EXTRA", "value": "1"}]}],
            "livenessProbes": [{"container": "controller", **LIVENESS}],
            "readinessProbes": [{"container": "controller", **TIMING}],
        },
        {"name": "request-reply", "replicas": 2},
        # Two pods of one port do not fit on the one node, and this has none before it is needed.
        {"name": "pingsource-mt-adapter", "hostNetwork": True},
    ],
    "knative_eventing_services": [
        {"name": "all", "annotations": {"example.com/service": "ours"}},
        {"name": "kourier", "labels": {"exposed": "yes"}},
    ],
    "knative_eventing_pod_disruption_budgets": [
        {"name": "all", "maxUnavailable": "50%"},
        {"name": "activator-pdb", "minAvailable": "1"},
    ],
    "knative_eventing_namespace_metadata": {
        "labels": {"istio-injection": "disabled"},
        "annotations": {"example.com/owner": "platform"},
    },
    "knative_eventing_image_pull_secrets": ["pull"],
    "knative_eventing_custom_certs": {"type": "ConfigMap", "name": "our-ca"},
    "knative_eventing_selection_mode": "inclusion",
    "knative_eventing_broker_class": "Mine",
    "knative_eventing_autopilot": True,
    "knative_eventing_registry": "mirror.example.com/knative",
    "knative_eventing_images": {"envoyproxy/envoy": "docker.io/envoyproxy/envoy:v1.37.1"},
}
CONTROLLER = "Deployment controller"
POD = ("spec", "template", "spec")
CONTAINER = (*POD, "containers", "controller")
MIRRORED = "mirror.example.com/knative/knative-releases/knative.dev"
#: Where a setting is in the cluster: (option below knative_eventing_, object, path, value or pattern); None stands
#: for the test's own port.
READ_BACK: list[tuple[str, str, tuple[str | int, ...], Any]] = [
    ("config", "ConfigMap config-features", ("data", "multi-container"), "enabled"),
    *(
        ("observability", f"ConfigMap {namespace}/config-observability", ("data", key), value)
        for namespace in ("knative-serving", "knative-eventing")
        for key, value in SETTINGS["knative_eventing_observability"].items()
    ),
    ("gateway_service_type", "Service kourier", ("spec", "type"), "NodePort"),
    ("gateway_node_port", "Service kourier", ("spec", "ports", "http2", "nodePort"), None),
    ("gateway_annotations", "Service kourier", ("annotations", "example.com/gateway"), "ours"),
    ("workloads.replicas", CONTROLLER, ("spec", "replicas"), 2),
    ("workloads.replicas", "StatefulSet request-reply", ("spec", "replicas"), 2),
    (
        "workloads.replicas",
        "HorizontalPodAutoscaler activator",
        ("spec", "minReplicas"),
        2,
    ),
    ("workloads.labels", "Deployment eventing-controller", ("labels", "team"), "platform"),
    (
        "workloads.labels",
        CONTROLLER,
        ("spec", "template", "metadata", "labels", "team"),
        "platform",
    ),
    ("workloads.annotations", CONTROLLER, ("annotations", "example.com/note"), "ours"),
    (
        "workloads.annotations",
        CONTROLLER,
        ("spec", "template", "metadata", "annotations", "example.com/note"),
        "ours",
    ),
    ("workloads.nodeSelector", CONTROLLER, (*POD, "nodeSelector"), {"kubernetes.io/os": "linux"}),
    ("workloads.tolerations", CONTROLLER, (*POD, "tolerations"), [TOLERATION]),
    ("workloads.affinity", CONTROLLER, (*POD, "affinity"), AFFINITY),
    (
        "workloads.topologySpreadConstraints",
        "StatefulSet request-reply",
        (*POD, "topologySpreadConstraints", 0, "topologyKey"),
        "kubernetes.io/hostname",
    ),
    ("workloads.hostNetwork", "Deployment pingsource-mt-adapter", (*POD, "hostNetwork"), True),
    (
        "workloads.hostNetwork",
        "Deployment pingsource-mt-adapter",
        (*POD, "dnsPolicy"),
        "ClusterFirstWithHostNet",
    ),
    (
        "workloads.resources.requests",
        CONTROLLER,
        (*CONTAINER, "resources", "requests", "cpu"),
        "10m",
    ),
    (
        "workloads.resources.limits",
        CONTROLLER,
        (*CONTAINER, "resources", "limits", "memory"),
        "512Mi",
    ),
    ("workloads.env.variables", CONTROLLER, (*CONTAINER, "env", "EXTRA", "value"), "1"),
    *(
        (
            f"workloads.{probe}s.{field}",
            CONTROLLER,
            (*CONTAINER, probe, field),
            value,
        )
        for probe, fields in (("livenessProbe", LIVENESS), ("readinessProbe", TIMING))
        for field, value in fields.items()
    ),
    ("services.labels", "Service kourier", ("labels", "exposed"), "yes"),
    *(
        ("services.annotations", f"Service {name}", ("annotations", "example.com/service"), "ours")
        for name in ("kourier", "activator-service", "eventing-webhook")
    ),
    (
        "pod_disruption_budgets.maxUnavailable",
        "PodDisruptionBudget eventing-webhook",
        ("spec", "maxUnavailable"),
        "50%",
    ),
    (
        "pod_disruption_budgets.minAvailable",
        "PodDisruptionBudget activator-pdb",
        ("spec", "minAvailable"),
        1,
    ),
    *(
        (
            "namespace_metadata.labels",
            f"Namespace {name}",
            ("labels", "istio-injection"),
            "disabled",
        )
        for name in ("knative-serving", "knative-eventing", "kourier-system")
    ),
    *(
        (
            "namespace_metadata.annotations",
            f"Namespace {name}",
            ("annotations", "example.com/owner"),
            "platform",
        )
        for name in ("knative-serving", "knative-eventing", "kourier-system")
    ),
    ("additional_manifests", "ConfigMap our-ca", ("data", "ca.crt"), "not looked at here"),
    *(
        ("image_pull_secrets", name, (*POD, "imagePullSecrets"), [{"name": "pull"}])
        for name in (CONTROLLER, "Deployment 3scale-kourier-gateway", "StatefulSet request-reply")
    ),
    (
        "custom_certs",
        CONTROLLER,
        (*POD, "volumes", "custom-certs-our-ca", "configMap", "name"),
        "our-ca",
    ),
    ("custom_certs", CONTROLLER, (*CONTAINER, "env", "SSL_CERT_DIR", "value"), "/custom-certs"),
    (
        "custom_certs",
        CONTROLLER,
        (*CONTAINER, "volumeMounts", "custom-certs-our-ca", "mountPath"),
        "/custom-certs",
    ),
    (
        "selection_mode",
        "Deployment eventing-webhook",
        (*POD, "containers", 0, "env", "SINK_BINDING_SELECTION_MODE", "value"),
        "inclusion",
    ),
    (
        "broker_class",
        "ConfigMap config-br-defaults",
        ("data", "default-br-config"),
        re.compile(r"brokerClass: Mine\n"),
    ),
    (
        "autopilot",
        "ConfigMap config-deployment",
        ("data", "pod-is-always-schedulable"),
        "true",
    ),
    ("registry", CONTROLLER, (*CONTAINER, "image"), f"{MIRRORED}/serving/cmd/controller:v1.23.0"),
    (
        "registry",
        "ConfigMap config-deployment",
        ("data", "queue-sidecar-image"),
        f"{MIRRORED}/serving/cmd/queue:v1.23.0",
    ),
    (
        "images",
        "Deployment 3scale-kourier-gateway",
        (*POD, "containers", 0, "image"),
        "docker.io/envoyproxy/envoy:v1.37.1",
    ),
]
#: Options that are no settings of what is installed, and those that tests of their own are about.
ELSEWHERE = {
    *("state", "kubeconfig", "scope", "context", "login", "timeout", "delete_resources", "adopt"),
    *("components", "mirror", "folder", "checksums", "cache_dir", "domain", "gateway"),
    *("gateway_address", "gateway_port", "monitors", "kafka"),
}
BROUGHT = [
    *(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "pull", "namespace": namespace},
        }
        for namespace in ("knative-serving", "knative-eventing", "kourier-system")
    ),
    config_map("our-ca", "knative-serving", **{"ca.crt": "not looked at here"}),
]


def options(specification: Object, prefix: str = "") -> set[str]:
    """Return the dotted names of the options in an argument specification that have values."""
    names: set[str] = set()
    for name, option in specification.items():
        below = {k: v for k, v in option.get("options", {}).items() if k not in ("name", "type")}
        below.pop("container", None)
        if below:
            names |= options(below, f"{prefix}{name}.")
        else:
            names.add(f"{prefix}{name}")
    return names


def at(value: Any, path: tuple[str | int, ...]) -> Any:
    """Return what is at a path; entries of lists are meant by their name, or their number."""
    for key in path:
        if isinstance(value, list) and isinstance(key, str):
            (value,) = [entry for entry in value if entry["name"] == key]
        else:
            value = value[key]
    return value


def matches(value: Any, expected: Any) -> bool:
    """Return whether a value is the one expected, or has what a pattern looks for."""
    if isinstance(expected, re.Pattern):
        return expected.search(value) is not None
    return bool(value == expected)


def installation(kube: Kube) -> dict[str, Object]:
    """Return what settings may change, as it was applied, by "Kind name".

    ConfigMaps that several namespaces have are "ConfigMap namespace/name" too.
    """
    client = kube.connect()
    kinds = [("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Service")]
    kinds += [("v1", "ConfigMap"), ("v1", "Namespace")]
    kinds += [("autoscaling/v2", "HorizontalPodAutoscaler"), ("policy/v1", "PodDisruptionBudget")]
    return {
        title: {
            "labels": item["metadata"].get("labels"),
            "annotations": {
                key: value
                for key, value in (item["metadata"].get("annotations") or {}).items()
                if not key.startswith("deployment.kubernetes.io/")
            },
            **{key: item[key] for key in ("spec", "data") if key in item},
        }
        for resource in (client.resource(*kind) for kind in kinds)
        for item in client.list(resource)
        for space in [item["metadata"].get("namespace") or item["metadata"]["name"]]
        if "knative" in space or "kourier" in space
        for title in (
            f"{item['kind']} {item['metadata']['name']}",
            f"{item['kind']} {space}/{item['metadata']['name']}",
        )
    }


def without_ports(found: dict[str, Object]) -> dict[str, Object]:
    """Leave out the ports on nodes: a Service keeps the one it has."""
    for title, item in found.items():
        if title.startswith("Service "):
            for port in item["spec"]["ports"]:
                port.pop("nodePort", None)
    return found


def node_port() -> int:
    """Return a free port of those that Services get on nodes."""
    with socket.socket() as found:
        for port in random.sample(range(30000, 32768), 50):
            with contextlib.suppress(OSError):
                found.bind(("127.0.0.1", port))
                return port
    raise AssertionError("no port is free")


def test_each_setting_is_read_back() -> None:
    path = ROOT / "roles/knative_eventing/meta/argument_specs.yml"
    specification = yaml.safe_load(path.read_text())["argument_specs"]["main"]["options"]
    short = {
        name: entry
        for option, entry in specification.items()
        for name in [option.removeprefix("knative_eventing_")]
        if not name.startswith(("bundle", "verify")) and not name.endswith("version")
    }
    for name in ("config", "login", "kafka"):
        short[name] = {}  # what they have below is no settings, or has tests of its own
    known = {setting for setting, _object, _path, _value in READ_BACK}
    assert options(short) == known | ELSEWHERE


@stand_ins
@pytest.mark.timeout(600)
def test_settings_are_in_the_cluster_and_go_again(role: Role, tmp_path: Path) -> None:
    role.changes()
    upstream = without_ports(installation(role.kube))
    absent = role.refusal(**SETTINGS)
    assert "custom_certs: there is no ConfigMap our-ca in namespace knative-serving" in absent
    assert "image_pull_secrets: there is no Secret pull in namespace kourier-system" in absent
    manifests = tmp_path / "brought.json"
    manifests.write_text("\n---\n".join(json.dumps(item) for item in BROUGHT))
    port = node_port()
    settings = {
        **SETTINGS,
        "knative_eventing_additional_manifests": [str(manifests)],
        "knative_eventing_gateway_node_port": port,
    }

    foreseen = role.outcome("--check", "--diff", **settings)
    assert foreseen["changed"] is True
    assert without_ports(installation(role.kube)) == upstream, "check mode changes nothing"
    made = role.outcome("--diff", **settings)
    assert foreseen["objects"] == made["objects"]
    assert foreseen["diff"] == made["diff"]
    now = installation(role.kube)
    missed = {
        (setting, name, path): value
        for setting, name, path, expected in READ_BACK
        if not matches(value := at(now[name], path), port if expected is None else expected)
    }
    assert missed == {}
    spread = at(now[CONTROLLER], (*POD, "topologySpreadConstraints", 0))
    assert spread == {**SPREAD, "labelSelector": now[CONTROLLER]["spec"]["selector"]}
    assert role.changes(**settings) == 0

    assert role.changes() == 1
    assert without_ports(installation(role.kube)) == upstream, "upstream's values are back"
    assert role.kube.get("v1", "ConfigMap", "our-ca", "knative-serving") is None
    blocking = role.refusal(
        knative_eventing_pod_disruption_budgets=[{"name": "webhook-pdb", "minAvailable": "80%"}]
    )
    assert "webhook-pdb with minAvailable: 80% lets none of 1 pods be evicted" in blocking
    assert without_ports(installation(role.kube)) == upstream, "nothing was touched"


@stand_ins
@pytest.mark.timeout(600)
def test_what_eventing_s_controller_starts_when_needed_is_left_running(role: Role) -> None:
    eventing = {"knative_eventing_components": ["eventing"]}
    role.changes(**eventing)
    name, namespace = "pingsource-mt-adapter", "knative-eventing"
    client = role.kube.connect()
    path = client.resource("apps/v1", "Deployment").path(namespace, name)
    # As the controller does for the first PingSource.
    found = client.transport.request("GET", path)
    found["spec"]["replicas"] = 1
    (container,) = found["spec"]["template"]["spec"]["containers"]
    container["env"].append({"name": "K_LEADER_ELECTION_CONFIG", "value": "{}"})
    (variable,) = [entry for entry in container["env"] if entry["name"] == "SYSTEM_NAMESPACE"]
    del variable["valueFrom"]
    variable["value"] = namespace
    client.transport.request("PUT", f"{path}?fieldManager=controller", body=found)
    assert role.changes(**eventing) == 0
    adapter = role.kube.get("apps/v1", "Deployment", name, namespace)
    assert adapter is not None
    assert adapter["spec"]["replicas"] == 1
    (container,) = adapter["spec"]["template"]["spec"]["containers"]
    assert {"name": "K_LEADER_ELECTION_CONFIG", "value": "{}"} in container["env"]
    assert {"name": "SYSTEM_NAMESPACE", "value": namespace} in container["env"]


@stand_ins
@pytest.mark.timeout(600)
def test_what_somebody_else_installed_is_adopted_or_refused(role: Role, mirror: str) -> None:
    base = f"{mirror}/knative/serving/releases/download/knative-v1.23.0"
    urls = [{"url": f"{base}/{name}.yaml"} for name in ("serving-crds", "serving-core")]
    role.kube.apply(urls=urls, field_manager="somebody", cache_dir=str(role.kube.kubeconfig.parent))
    serving = {"knative_eventing_components": ["serving", "kourier"]}
    refused = role.refusal(**serving)
    assert "serving 1.23.0 is installed already, by somebody" in refused
    assert "set knative_eventing_adopt to take it over" in refused
    assert "was installed by somebody else" in role.refusal(knative_eventing_state="absent")
    assert role.changes(knative_eventing_adopt=True, **serving) == 1
    assert role.changes(**serving) == 0


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    not KNATIVE.is_dir(), reason="the upstream manifests are not beside this checkout"
)
def test_upstream_s_own_files_roll_out_unmodified(role: Role) -> None:
    upstream = {
        "knative_eventing_folder": str(KNATIVE),
        "knative_eventing_version": release.newest(KNATIVE)["eventing"],
        "knative_eventing_components": [*COMPONENTS, "hpa"],
        # As on a cluster with a load balancer, whose address becomes the domain.
        "knative_eventing_domain": "sslip.io",
        "knative_eventing_gateway": "load_balancer",
    }
    first = role.run(**upstream)
    assert first.returncode == 0, first.stdout + first.stderr
    assert recap(first.stdout)["localhost"]["changed"] == 1
    assert " ready; waiting for Deployment " in first.stderr, "it tells what it waits for"
    assert role.data("config-domain", "knative-serving")["127.0.0.1.sslip.io"] == ""
    client = role.kube.connect()
    for kind in ("Deployment", "StatefulSet"):
        for workload in client.list(client.resource("apps/v1", kind)):
            wanted = workload["spec"]["replicas"]
            assert workload["status"].get("readyReplicas", 0) == wanted, workload["metadata"][
                "name"
            ]
    assert role.changes(**upstream) == 0
    newest = upstream["knative_eventing_version"]
    other = role.refusal(**{**upstream, "knative_eventing_version": "1.20.9"})
    assert f"eventing-core.yaml is release {newest}, not 1.20.9" in other
