"""What stands against installing Knative on a cluster is told, all of it, before anything is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.kube import Kube, api_server, definition, deployment, namespace
from support.prerequisites import GATEWAY, GATEWAY_API, ISTIO, ISTIOD, exposed, of
from support.sandbox import until

from ansible_collections.streamops.knative.plugins.module_utils._knative import (
    gateway,
    kafka,
    releases,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.bundle import (
    DesiredState,
    refusals,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.ingress_gateways import (
    API_VERSION,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.installation import (
    is_autopilot,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.prerequisites import (
    missing_prerequisites,
)
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import Version
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run
from ansible_collections.streamops.knative.plugins.modules.knative import TASK, domain
from streamops_sandbox.knative import release

WANTED: dict[str, Any] = {
    "components": ["serving", "kourier", "eventing"],
    "serving_version": "1.23.0",
    "kourier_version": "1.23.0",
    "eventing_version": "1.23.0",
}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


def refusal(kube: Kube, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        kube.run(TASK, **{**WANTED, **options})
    return str(refused.value)


def test_the_domain_of_an_address_of_ipv6_has_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = gateway.Gateway("2001:db8::7", 80)
    monkeypatch.setattr(gateway, "wait", lambda *_given, **_options: found)
    options = {"access": "load_balancer", "address": None}
    given = {"domain": "sslip.io", "gateway": options, "components": [], "config": {}}
    client: Any = None
    assert domain(Run(given, check_mode=True), client) == "2001-db8--7.sslip.io"


def test_missing_permissions_and_an_old_kubernetes_are_told_together(
    kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "looks-on"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "system:aggregate-to-view",  # no controller fills "view" here
            },
            "subjects": [{"kind": "User", "name": "onlooker"}],
        }
    )
    monkeypatch.setitem(releases._KUBERNETES, 25, 99)  # a release to come
    told = refusal(kube, impersonate_user="onlooker", serving_version="1.25.0")
    assert "may not create, patch and delete namespaces, configmaps, secrets" in told
    assert "customresourcedefinitions.apiextensions.k8s.io" in told
    assert "takes the role cluster-admin" in told
    assert "serving_version: 1.25.0 needs Kubernetes 1.99, the cluster has v1." in told
    assert "upgrade the cluster, or choose an older serving_version" in told
    components = ["serving", "kourier", "eventing"]
    versions = {project: Version(1, 23, 0) for project in components}
    desired = DesiredState(components, versions, releases.Source())
    assert refusals(kube.connect(), desired, {}) == [], "an administrator may"


def test_other_images_are_run_in_place_of_those_that_are_written(
    kube: Kube, tmp_path: Path
) -> None:
    for name in ("serving-crds", "serving-core", "serving-post-install-jobs"):
        (tmp_path / f"{name}.yaml").write_text(
            release.render("knative/serving", "1.23.0", name) or ""
        )
    path = "knative-releases/knative.dev/serving/cmd"
    images = {
        f"gcr.io/{path}/{name}:v1.23.0": f"local/{path}/{name}:2"
        for name in ("queue", "webhook", "migrate")
    }
    older = deployment("an-old-one", "knative-serving")  # so that there is something to migrate
    older["metadata"]["labels"] = {"app.kubernetes.io/version": "1.22.0"}
    kube.apply(namespace("knative-serving"), older)
    foreseen = kube.run(
        TASK, check=True, diff=True, components=["serving"], serving_version="1.23.0",
        folder=str(tmp_path), references=images, adopt=True,
    )  # fmt: skip
    kube.apply(older, state="absent")
    diff = json.dumps(foreseen.result["diff"])
    for old, new in images.items():
        assert old not in diff
        assert new in diff
    assert f"gcr.io/{path}/controller:v1.23.0" in diff
    with pytest.raises(TaskError, match=r"references: .* not text"):
        kube.run(TASK, **WANTED, references={"a": 1})


def test_an_autopilot_cluster_is_told_by_its_nodes(kube: Kube) -> None:
    assert not is_autopilot(kube.connect())
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gk3-pool-1-abcd"}}
    kube.apply(node)
    assert is_autopilot(kube.connect())
    kube.apply(node, state="absent")


def test_what_the_operator_governs_is_left_to_it(kube: Kube) -> None:
    crd = definition("KnativeServing", group="operator.knative.dev")
    crd["spec"]["versions"][0]["name"] = "v1beta1"
    governed = {
        "apiVersion": "operator.knative.dev/v1beta1",
        "kind": "KnativeServing",
        "metadata": {"name": "serving", "namespace": "default"},
        "spec": {},
    }
    kube.apply(crd, governed)
    told = refusal(kube, adopt=True)
    assert "The Knative Operator governs this installation" in told
    assert "KnativeServing default/serving" in told
    kube.apply(crd, governed, state="absent")


# -- ingresses by others' gateways -----------------------------------------------------------


def test_an_ingress_without_what_it_needs_is_refused_with_what_is_missing(kube: Kube) -> None:
    def lacking(ingress: str, **options: Any) -> list[str]:
        components = ["serving", ingress]
        config: Any = {"serving": options} if options else {}
        return missing_prerequisites(kube.connect(), components, config)

    (kinds,) = lacking("net-istio")
    assert kinds.startswith(
        "components: net-istio needs Gateway (networking.istio.io), VirtualService"
    )
    assert "install Istio with an ingress gateway (istioctl install" in kinds
    told = refusal(
        kube,
        components=["serving", "net-istio"],
        net_istio_version="1.22.1",
        mirror="http://127.0.0.1:1",
    )
    assert kinds in told, "before anything is downloaded"

    kube.apply(*ISTIO, namespace("istio-system"))
    until(lambda: len(lacking("net-istio")) == 2, "Istio's kinds to be served")
    service, istiod = lacking("net-istio")
    assert service == (
        "config.serving.config-istio: external-gateways names the Service istio-system/istio-ingressgateway,"
        " which the cluster does not have: create it, or name another there"
    )
    assert (
        "net-istio needs Istio's control plane, and no namespace has a Deployment labelled"
        in istiod
    )
    kube.apply(exposed("istio-ingressgateway"), ISTIOD)
    assert lacking("net-istio") == []

    (kinds,) = lacking("net-gateway-api")
    assert "GatewayClass (gateway.networking.k8s.io/v1)" in kinds
    assert "ReferenceGrant (gateway.networking.k8s.io/v1beta1)" in kinds
    assert "standard-install.yaml of https://github.com/kubernetes-sigs/gateway-api" in kinds
    kube.apply(*GATEWAY_API)
    until(lambda: len(lacking("net-gateway-api")) == 5, "the kinds to be served")
    missing = lacking("net-gateway-api")
    assert [text.partition(", which")[0] for text in missing] == [
        f"config.serving.config-gateway: {names}"
        for names in (
            "external-gateways names the GatewayClass istio",
            "external-gateways names the Gateway istio-system/knative-gateway",
            "local-gateways names the GatewayClass istio",
            "local-gateways names the Gateway istio-system/knative-local-gateway",
            "local-gateways names the Service istio-system/knative-local-gateway",
        )
    ]
    kube.apply(of("GatewayClass", "istio", "", API_VERSION, spec={}), GATEWAY)
    gateways = "[{class: istio, gateway: istio-system/knative-gateway}]"
    config = {"external-gateways": gateways, "local-gateways": gateways}
    assert lacking("net-gateway-api", **{"config-gateway": config}) == []
    (wrong,) = lacking(
        "net-gateway-api", **{"config-gateway": {**config, "local-gateways": "istio"}}
    )
    assert wrong.startswith("config.serving.config-gateway: local-gateways is not a list")


def test_the_gateway_of_others_is_found_where_the_ingress_names_it(kube: Kube) -> None:
    client = kube.connect()
    kube.apply(
        *ISTIO, *GATEWAY_API, namespace("istio-system"), namespace("knative-serving"), wait=True
    )
    public = exposed("istio-ingressgateway")
    kube.apply(public, GATEWAY)
    found = partial(gateway.find, client, "load_balancer")
    assert found(ingress="net-istio") == gateway.Gateway("", 80), "no address yet"
    kube.set_status(public, {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}})
    assert found(ingress="net-istio") == gateway.Gateway("192.0.2.7", 80)
    assert found(ingress="net-gateway-api") == gateway.Gateway("192.0.2.7", 80)
    on_nodes = gateway.find(client, "node_port", "198.51.100.1", ingress="net-istio")
    assert on_nodes == gateway.Gateway("198.51.100.1", 31080)
    kube.set_status(GATEWAY, {"addresses": [{"type": "Hostname", "value": "lb.example.com"}]})
    elsewhere = {"external-gateways": "[{class: istio, gateway: istio-system/knative-gateway}]"}
    kube.apply(of("ConfigMap", "config-gateway", "knative-serving", data=elsewhere))
    assert found(ingress="net-gateway-api") == gateway.Gateway("lb.example.com", 8080)
    assert found(ingress="") == gateway.Gateway(), "nothing routes"
    for name, ingress in (("istio", "net-istio"), ("gateway-api", "net-gateway-api"), ("ours", "")):
        data = {"ingress-class": f"{name}.ingress.networking.knative.dev"}
        kube.apply(of("ConfigMap", "config-network", "knative-serving", data=data))
        assert gateway.installed_ingress(client) == ingress


# -- Kafka -----------------------------------------------------------------------------------

BOOTSTRAP = "kafka.messaging:9092"


def test_kafka_that_cannot_be_reached_is_refused(kube: Kube) -> None:
    def told(**options: Any) -> list[str]:
        return kafka.problems(kube.connect(), ["eventing", "kafka-broker"], options)

    assert kafka.problems(kube.connect(), ["eventing", "kafka-sink"], {}) == []
    (required,) = told()
    assert required.startswith("kafka.bootstrap_servers: required with kafka-broker: HOST:PORT")
    assert told(bootstrap_servers=["kafka.example.com:9092", "192.0.2.1:9092"]) == []
    (nowhere,) = told(bootstrap_servers=["kafka.messaging.svc.cluster.local:9092"])
    assert "there is no Service kafka in namespace messaging: start Kafka first" in nowhere
    kube.apply(
        namespace("messaging"),
        of("Service", "kafka", "messaging", spec={"ports": [{"port": 9092}]}),
    )
    (port,) = told(bootstrap_servers=["kafka.messaging:9093"])
    assert "the Service messaging/kafka has no port 9093; its ports are 9092" in port
    (idle,) = told(bootstrap_servers=[BOOTSTRAP])
    assert "the Service messaging/kafka has no ready endpoint: see why Kafka's pods" in idle
    endpoints = of(
        "EndpointSlice", "kafka-1", "messaging", "discovery.k8s.io/v1", addressType="IPv4"
    )
    endpoints["metadata"]["labels"] = {"kubernetes.io/service-name": "kafka"}
    for ready in (False, True):
        endpoints["endpoints"] = [{"addresses": ["192.0.2.9"], "conditions": {"ready": ready}}]
        kube.apply(endpoints)
        assert bool(told(bootstrap_servers=[BOOTSTRAP])) is not ready


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "does not exist: create it first"),
        ({}, "its key protocol has to be one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        (
            {"protocol": "SASL_SSL", "user": "a"},
            "lacks sasl.mechanism, password, which SASL_SSL needs",
        ),
        ({"protocol": "SSL"}, "lacks user.crt, user.key, which SSL needs (or user.skip: true"),
        ({"protocol": "SSL", "user.skip": "true"}, ""),
        ({"protocol": "SASL_SSL", "user": "a", "password": "b", "sasl.mechanism": "PLAIN"}, ""),
        ({"protocol": "PLAINTEXT"}, ""),
    ],
)
def test_credentials_that_kafka_s_protocol_lacks_are_named(
    kube: Kube, data: dict[str, str] | None, said: str
) -> None:
    secret = of("Secret", "sasl", "knative-eventing", stringData=data or {})
    kube.apply(namespace("knative-eventing"))
    kube.apply(secret, state="absent")
    if data is not None:
        kube.apply(secret)
    options = {"bootstrap_servers": ["kafka.example.com:9092"], "auth_secret": "sasl"}
    found = kafka.problems(kube.connect(), ["kafka-channel"], options)
    assert len(found) == bool(said)
    if said:
        assert found[0].startswith(
            "kafka.auth_secret: the Secret sasl in namespace knative-eventing"
        )
        assert said in found[0]
