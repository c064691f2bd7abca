"""Built-in kinds: defaults, rules and side effects that users notice."""

from __future__ import annotations

import base64

import pytest


def pod_template(**spec):
    return {
        "metadata": {"labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec},
    }


def workload(**spec):
    return {
        "metadata": {"name": "w"},
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": pod_template(), **spec},
    }


@pytest.fixture
def in_namespace(cluster, namespace):
    def call(method, group, plural, body=None, name="", **options):
        prefix = f"/apis/{group}" if "/" in group else f"/api/{group}"
        path = f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")
        return cluster.call(method, path, body, **options)

    return call


def test_service_addresses(in_namespace):
    def create(name, **spec):
        body = {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}
        return in_namespace("POST", "v1", "services", body)["spec"]

    plain, headless = create("a"), create("b", clusterIP="None")
    balanced, external = (
        create("c", type="LoadBalancer"),
        create("d", type="ExternalName", externalName="x.io"),
    )
    assert plain["clusterIPs"] == [plain["clusterIP"]]
    assert plain["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    assert (plain["type"], plain["sessionAffinity"]) == ("ClusterIP", "None")
    assert headless["clusterIP"] == "None"
    assert 30000 <= balanced["ports"][0]["nodePort"] < 32768
    assert "clusterIP" not in external
    taken = {"metadata": {"name": "e"}, "spec": {"ports": [{"port": 1}], **{
        "clusterIP": plain["clusterIP"]}}}  # fmt: skip
    status = in_namespace("POST", "v1", "services", taken, code=422)
    assert "provided IP is already allocated" in status["message"]


def test_pods_in_the_network_of_their_node_have_its_ports_and_templates_none(in_namespace):
    body = workload(template=pod_template(hostNetwork=True))
    ports = [{"containerPort": 9090}]
    body["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    template = in_namespace("POST", "apps/v1", "deployments", body)["spec"]["template"]
    assert template["spec"]["containers"][0]["ports"] == [
        {"containerPort": 9090, "protocol": "TCP"}
    ]
    pod = {"metadata": {"name": "p"}, "spec": body["spec"]["template"]["spec"]}
    (container,) = in_namespace("POST", "v1", "pods", pod)["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 9090, "hostPort": 9090, "protocol": "TCP"}]


def test_service_keeps_its_address(in_namespace):
    body = {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    made = in_namespace("POST", "v1", "services", body)
    again = in_namespace("PUT", "v1", "services", body, name="a")
    assert again["spec"] == made["spec"]
    body["spec"]["type"] = "ClusterIP"
    assert (
        "nodePort" not in in_namespace("PUT", "v1", "services", body, name="a")["spec"]["ports"][0]
    )
    body["spec"]["clusterIP"] = "10.96.255.1"
    status = in_namespace("PUT", "v1", "services", body, name="a", code=422)
    assert "may not change once set" in status["message"]


def test_selectors_are_immutable(in_namespace):
    made = in_namespace("POST", "apps/v1", "deployments", workload())
    made["spec"]["selector"]["matchLabels"]["b"] = "c"
    made["spec"]["template"]["metadata"]["labels"]["b"] = "c"
    status = in_namespace("PUT", "apps/v1", "deployments", made, name="w", code=422)
    assert "spec.selector: Invalid value" in status["message"]
    assert "field is immutable" in status["message"]


def test_broken_rules_are_told_at_once(in_namespace):
    body = workload(replicas=-1)
    body["spec"]["template"]["metadata"]["labels"] = {"other": "x"}
    body["spec"]["template"]["spec"] = {
        "restartPolicy": "Never",
        "containers": [
            {"name": "c"},
            {"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            {
                "name": "d",
                "image": "i",
                "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}},
            },
        ],
    }
    status = in_namespace("POST", "apps/v1", "deployments", body, code=422)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert fields >= {
        "spec.replicas",
        "spec.template.metadata.labels",
        "spec.template.spec.restartPolicy",
        "spec.template.spec.containers[0].image",
        "spec.template.spec.containers[1].name",
        "spec.template.spec.containers[1].volumeMounts[0].name",
        "spec.template.spec.containers[2].resources.requests",
    }


_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}


def _rule(**path):
    return {
        "rules": [{"host": "a.example.com", "http": {"paths": [{"backend": _BACKEND, **path}]}}]
    }


@pytest.mark.parametrize(
    ("plural", "body", "fields"),
    [
        (
            "apps/v1 deployments",
            {"spec": {**workload()["spec"], "strategy": {"type": "Slowly"}, "minReadySeconds": -1}},
            {"spec.strategy", "spec.minReadySeconds"},
        ),
        (
            "apps/v1 daemonsets",
            {"spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": pod_template(
                    dnsPolicy="Sometimes",
                    containers=[{"name": "c", "image": "i", "ports": [
                        {"containerPort": 1, "protocol": "HTTP"}], "livenessProbe": {
                            "tcpSocket": {"port": 1}, "initialDelaySeconds": -5}}],
                ),
            }},
            {
                "spec.template.spec.dnsPolicy",
                "spec.template.spec.containers[0].ports[0].protocol",
                "spec.template.spec.containers[0].livenessProbe.initialDelaySeconds",
            },
        ),
        (
            "batch/v1 jobs",
            {"spec": {"parallelism": -1, "backoffLimit": -2, "template": pod_template(
                restartPolicy="Never")}},
            {"spec.parallelism", "spec.backoffLimit"},
        ),
        (
            "batch/v1 cronjobs",
            {"spec": {"schedule": "daily", "concurrencyPolicy": "Maybe", "jobTemplate": {
                "spec": {"template": pod_template()}}}},
            {
                "spec.schedule",
                "spec.concurrencyPolicy",
                "spec.jobTemplate.spec.template.spec.restartPolicy",
            },
        ),
        (
            "v1 services",
            {"spec": {"type": "Inner", "clusterIP": "1.2.3", "ports": [{"port": 0}, {"port": 1}]}},
            {
                "spec.type", "spec.clusterIPs[0]", "spec.ports[0].name", "spec.ports[0].port",
                "spec.ports[0].targetPort", "spec.ports[1].name",
            },
        ),
        (
            "networking.k8s.io/v1 ingresses",
            {"spec": _rule(path="web", pathType="Prefix", backend={})},
            {
                "spec.rules[0].http.paths[0].path",
                "spec.rules[0].http.paths[0].backend",
            },
        ),
        (
            "networking.k8s.io/v1 ingresses",
            {"spec": _rule(path="/", pathType="Fuzzy")},
            {"spec.rules[0].http.paths[0].pathType"},
        ),
        ("networking.k8s.io/v1 ingresses", {"spec": {}}, {"spec"}),
        (
            "networking.k8s.io/v1 networkpolicies",
            {"spec": {"podSelector": {}, "policyTypes": ["Inwards"]}},
            {"spec.policyTypes[0]"},
        ),
        (
            "policy/v1 poddisruptionbudgets",
            {"spec": {"minAvailable": 1, "maxUnavailable": "10%", "selector": {}}},
            {"spec"},
        ),
        (
            "rbac.authorization.k8s.io/v1 rolebindings",
            {"roleRef": {"kind": "Roll", "name": "r"}, "subjects": [{"kind": "Robot", "name": "x"}]},
            {"roleRef.kind", "subjects[0].kind"},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_no_real_server_takes_is_refused(in_namespace, plural, body, fields):
    version, plural = plural.split()
    status = in_namespace("POST", version, plural, {"metadata": {"name": "x"}, **body}, code=422)
    assert {cause["field"] for cause in status["details"]["causes"]} == fields


def test_jobs_select_their_own_pods(in_namespace):
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": pod_template(restartPolicy="Never")},
    }
    made = in_namespace("POST", "batch/v1", "jobs", body)
    uid = made["metadata"]["uid"]
    assert made["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert made["spec"]["template"]["metadata"]["labels"]["job-name"] == "j"
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2"
    status = in_namespace("PUT", "batch/v1", "jobs", made, name="j", code=422)
    assert "spec.template.spec: Invalid value" in status["message"]


def test_pods_get_what_admission_adds(cluster, in_namespace):
    made = in_namespace("POST", "v1", "pods", {"metadata": {"name": "p"}, **pod_template()} | {
        "metadata": {"name": "p"}})  # fmt: skip
    spec = made["spec"]
    assert spec["serviceAccountName"] == "default"
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"] == "token"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    body = {"metadata": {"name": "q"}, **{"spec": pod_template(serviceAccountName="no")["spec"]}}
    status = in_namespace("POST", "v1", "pods", body, code=403)
    assert 'serviceaccount "no" not found' in status["message"]
    made["spec"]["containers"][0]["image"] = "i:2"
    in_namespace("PUT", "v1", "pods", made, name="p")
    made["spec"]["containers"][0]["command"] = ["x"]
    del made["metadata"]["resourceVersion"]
    status = in_namespace("PUT", "v1", "pods", made, name="p", code=422)
    assert "pod updates may not change fields other than" in status["message"]


def test_evictions_respect_budgets(in_namespace):
    body = {"metadata": {"name": "p", "labels": {"app": "a"}}, "spec": pod_template()["spec"]}
    in_namespace("POST", "v1", "pods", body)
    budget = {
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}},
    }
    in_namespace("POST", "policy/v1", "poddisruptionbudgets", budget)
    running = {"metadata": {"name": "p"}, "status": {"phase": "Running"}}
    in_namespace("PUT", "v1", "pods", running | {"spec": body["spec"]}, name="p/status")
    status = in_namespace("POST", "v1", "pods", {}, name="p/eviction", code=429)
    assert status["reason"] == "TooManyRequests"
    in_namespace("DELETE", "policy/v1", "poddisruptionbudgets", name="b")
    in_namespace("POST", "v1", "pods", {}, name="p/eviction")
    in_namespace("GET", "v1", "pods", name="p", code=404)


def test_a_pod_that_does_not_run_yet_is_evicted_whatever_the_budget(in_namespace):
    body = {"metadata": {"name": "p", "labels": {"app": "a"}}, "spec": pod_template()["spec"]}
    in_namespace("POST", "v1", "pods", body)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    in_namespace(
        "POST", "policy/v1", "poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": spec}
    )
    in_namespace("POST", "v1", "pods", {}, name="p/eviction", code=201)


def test_immutable_config(in_namespace):
    for plural in ("configmaps", "secrets"):
        value = base64.b64encode(b"1").decode()
        body = {"metadata": {"name": "a"}, "data": {"k": value}, "immutable": True}
        in_namespace("POST", "v1", plural, body)
        body["data"]["k"] = base64.b64encode(b"2").decode()
        status = in_namespace("PUT", "v1", plural, body, name="a", code=422)
        assert "field is immutable when `immutable` is set" in status["message"]


def test_secrets(in_namespace):
    body = {"metadata": {"name": "a"}, "stringData": {"k": "v"}}
    made = in_namespace("POST", "v1", "secrets", body)
    assert (made["data"], made["type"]) == ({"k": "dg=="}, "Opaque")
    assert "stringData" not in made
    body = {"metadata": {"name": "b"}, "data": {"k": "not base64!"}}
    assert "illegal base64" in in_namespace("POST", "v1", "secrets", body, code=400)["message"]
    body = {"metadata": {"name": "c"}, "type": "kubernetes.io/tls"}
    status = in_namespace("POST", "v1", "secrets", body, code=422)
    assert {c["field"] for c in status["details"]["causes"]} == {"data[tls.crt]", "data[tls.key]"}


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([{"name": "b", "image": "b:2"}], ["a:1", "b:2"]),
        ([{"name": "c", "image": "c:1"}], ["a:1", "b:1", "c:1"]),
        ([{"$patch": "delete", "name": "a"}], ["b:1"]),
        ([{"$patch": "replace"}, {"name": "z", "image": "z:1"}], ["z:1"]),
    ],
    ids=["merge", "add", "delete", "replace"],
)
def test_strategic_merge(in_namespace, patch, expected):
    body = workload()
    body["spec"]["template"]["spec"]["containers"] = [
        {"name": "a", "image": "a:1"},
        {"name": "b", "image": "b:1"},
    ]
    in_namespace("POST", "apps/v1", "deployments", body)
    after = in_namespace(
        "PATCH",
        "apps/v1",
        "deployments",
        {"spec": {"template": {"spec": {"containers": patch}}}},
        name="w",
        content_type="application/strategic-merge-patch+json",
    )
    found = [c["image"] for c in after["spec"]["template"]["spec"]["containers"]]
    assert sorted(found) == expected


def test_strategic_merge_directives(in_namespace):
    body = workload(strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}})
    body["metadata"]["finalizers"] = ["a.io/x", "a.io/y"]
    in_namespace("POST", "apps/v1", "deployments", body)
    after = in_namespace(
        "PATCH",
        "apps/v1",
        "deployments",
        {
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a.io/x"]},
            "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
        },
        name="w",
        content_type="application/strategic-merge-patch+json",
    )
    assert after["metadata"]["finalizers"] == ["a.io/y"]
    assert after["spec"]["strategy"] == {"type": "Recreate"}


def test_json_patch_errors(in_namespace):
    in_namespace("POST", "v1", "configmaps", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    options = {"name": "a", "content_type": "application/json-patch+json"}
    test = [{"op": "test", "path": "/data/k", "value": "other"}]
    in_namespace("PATCH", "v1", "configmaps", test, **options, code=422)
    missing = [{"op": "remove", "path": "/data/none"}]
    in_namespace("PATCH", "v1", "configmaps", missing, **options, code=422)
    in_namespace("PATCH", "v1", "configmaps", {}, **options, code=400)
    in_namespace("PATCH", "v1", "configmaps", {}, name="a", content_type="x/y", code=415)
