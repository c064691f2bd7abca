"""What a real cluster refuses, warns of or changes on the way in."""

from __future__ import annotations

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ENFORCE = "pod-security.kubernetes.io/enforce"
WARN = "pod-security.kubernetes.io/warn"
RESTRICTED = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "a",
            "image": "i:1",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            },
        }
    ],
}


def pod(name="p", **container):
    spec = {"containers": [{"name": "a", "image": "i:1", **container}]}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.fixture
def post(cluster, namespace):
    def call(plural, body, *, version="v1", **options):
        root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        return cluster.call("POST", f"{root}/namespaces/{namespace}/{plural}", body, **options)

    return call


@pytest.fixture
def label(cluster, namespace):
    def patch(**labels):
        cluster.call(
            "PATCH",
            f"/api/v1/namespaces/{namespace}",
            {"metadata": {"labels": labels}},
            content_type="application/merge-patch+json",
        )

    return patch


@pytest.mark.parametrize(
    ("level", "spec", "text"),
    [
        ("restricted", {}, 'allowPrivilegeEscalation != false (container "a" must set securityContext.'),
        ("restricted", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "restricted volume types"),
        ("baseline", {"hostNetwork": True}, "host namespaces (hostNetwork=true)"),
        ("baseline", {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, 'hostPath volumes (volume "v")'),
    ],
)  # fmt: skip
def test_pod_security_refuses_by_the_level_of_the_namespace(post, label, level, spec, text):
    label(**{ENFORCE: level})
    body = pod()
    body["spec"] |= spec
    status = post("pods", body, code=403)
    assert f'violates PodSecurity "{level}:latest": ' in status["message"]
    assert text in status["message"]


def test_pod_security_lets_pass_what_its_level_allows(post, label, cluster, namespace):
    label(**{ENFORCE: "restricted", WARN: "restricted"})
    post("pods", {"metadata": {"name": "p"}, "spec": RESTRICTED})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    body = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    answer = cluster.raw("POST", path, body)
    assert answer.status_code == 201
    assert 'would violate PodSecurity \\"restricted:latest\\"' in answer.headers["Warning"]


def test_pods_that_a_new_level_would_refuse_are_named(post, cluster, namespace):
    for name in ("p", "q"):
        post("pods", pod(name))
    post("pods", {"metadata": {"name": "r"}, "spec": RESTRICTED})
    answer = cluster.raw(
        "PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": {ENFORCE: "restricted"}}},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    text = answer.headers["Warning"]
    assert "violate the new PodSecurity enforce level" in text
    assert (
        "p (and 1 other pod): allowPrivilegeEscalation != false, unrestricted capabilities" in text
    )
    assert "r:" not in text


def test_a_quota_is_counted_and_kept(post, cluster, namespace):
    hard = {"count/configmaps": "1", "requests.cpu": "1"}
    post("resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    post("configmaps", {"metadata": {"name": "a"}})
    status = post("configmaps", {"metadata": {"name": "b"}}, code=403)
    assert status["message"] == (
        'configmaps "b" is forbidden: exceeded quota: q, requested: count/configmaps=1, used: '
        "count/configmaps=1, limited: count/configmaps=1"
    )
    status = post("pods", pod(), code=403)
    assert "failed quota: q: must specify requests.cpu for: a" in status["message"]
    post("pods", pod(resources={"requests": {"cpu": "600m"}}))
    status = post("pods", pod("r", resources={"requests": {"cpu": "0.5"}}), code=403)
    assert "requested: requests.cpu=500m, used: requests.cpu=600m" in status["message"]
    cluster.call("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/a")
    quota = cluster.call("GET", f"/api/v1/namespaces/{namespace}/resourcequotas/q")
    assert quota["status"]["used"] == {"count/configmaps": "0", "requests.cpu": "600m"}


def test_limit_ranges_fill_in_and_bound(post):
    limit = {"type": "Container", "default": {"cpu": "1"}, "max": {"cpu": "2"}}
    post("limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [limit]}})
    made = post("pods", pod())
    assert made["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "1"},
        "requests": {"cpu": "1"},
    }
    status = post("pods", pod("q", resources={"limits": {"cpu": "3"}}), code=403)
    assert "maximum cpu usage per Container is 2, but limit is 3" in status["message"]


def test_nobody_grants_what_they_do_not_have(cluster, namespace, post):
    rbac = "rbac.authorization.k8s.io/v1"
    rules = [
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]
    post("roles", {"metadata": {"name": "granter"}, "rules": rules}, version=rbac)
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    binding = {
        "metadata": {"name": "b"},
        "roleRef": {"kind": "Role", "name": "granter"},
        "subjects": [subject],
    }
    post("rolebindings", binding, version=rbac)
    token = cluster.service_account_token(namespace)

    def role(verb):
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}
        return {"metadata": {"name": verb}, "rules": [rule]}

    post("roles", role("get"), version=rbac, token=token)
    status = post("roles", role("delete"), version=rbac, token=token, code=403)
    assert "is attempting to grant RBAC permissions not currently held:" in status["message"]
    assert '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}' in status["message"]
    admin = {
        **binding,
        "metadata": {"name": "c"},
        "roleRef": {"kind": "ClusterRole", "name": "admin"},
    }
    post("rolebindings", admin, version=rbac, token=token, code=403)


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"livenessProbe": {}}, "spec.containers[0].livenessProbe"),
        ({"env": [{"name": "a=b"}]}, "spec.containers[0].env[0].name"),
        (
            {"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1500m"}}},
            "spec.containers[0].resources.requests",
        ),
    ],
)
def test_pods_that_could_not_run_are_refused(post, container, field):
    status = post("pods", pod(**container), code=422)
    assert [cause["field"] for cause in status["details"]["causes"]] == [field]


def test_amounts_are_kept_in_their_canonical_form(post):
    limits = {"cpu": "1000m", "memory": "1024Mi", "ephemeral-storage": "1.5Gi"}
    made = post("pods", pod(resources={"limits": limits}))
    assert made["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "1",
        "memory": "1Gi",
        "ephemeral-storage": "1536Mi",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b'{"metadata":{"name":"c"},"data":{"a":"1","a":"2"}}', "application/json", 'duplicate field "data.a"'),
        (b"metadata: {name: c}\ndata: {}\ndata: {}\n", "application/yaml", 'line 3: key "data" already set in map'),
    ],
)  # fmt: skip
def test_duplicate_fields_are_found(cluster, namespace, body, content_type, text):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status = cluster.call(
        "POST", path, body, content_type=content_type, fieldValidation="Strict", code=400
    )
    assert text in status["message"]


def definition(group, schema):
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "gizmos", "kind": "Gizmo"}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": f"gizmos.{group}"}, "spec": spec}


def test_definitions_have_structural_schemas_and_rules_that_compile(cluster, namespace):
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            "rule": {"type": "string", "x-kubernetes-validations": [{"rule": "self =="}]},
            "free": {},
        },
    }
    body = definition(f"{namespace}.example.org", schema)
    status = cluster.call("POST", CRDS, body, code=422)
    start = "spec.validation.openAPIV3Schema.properties"
    assert [cause["field"] for cause in status["details"]["causes"]] == [
        f"{start}[list].x-kubernetes-list-map-keys",
        f"{start}[rule].x-kubernetes-validations[0].rule",
        f"{start}[free].type",
    ]


def test_rules_in_cel_hold_for_what_changes(cluster, namespace):
    group = f"{namespace}.example.org"
    spec = {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "x-kubernetes-validations": [
            {"rule": "self.a < self.b", "message": "a has to be less than b"},
            {"rule": "self.a >= oldSelf.a", "message": "a never decreases"},
        ],
    }
    schema = {"type": "object", "properties": {"spec": spec}}
    cluster.call("POST", CRDS, definition(group, schema))
    path = f"/apis/{group}/v1/namespaces/{namespace}/gizmos"
    kind = {"apiVersion": f"{group}/v1", "kind": "Gizmo", "metadata": {"name": "g"}}
    status = cluster.call("POST", path, {**kind, "spec": {"a": 2, "b": 1}}, code=422)
    assert status["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: a has to be less than b",
            "field": "spec",
        }
    ]
    cluster.call("POST", path, {**kind, "spec": {"a": 2, "b": 3}})
    merge = {"content_type": "application/merge-patch+json"}
    status = cluster.call("PATCH", f"{path}/g", {"spec": {"a": 1}}, code=422, **merge)
    assert "a never decreases" in status["message"]
    cluster.call("PATCH", f"{path}/g", {"spec": {"a": 2, "b": 4}}, **merge)
    cluster.call("DELETE", f"{CRDS}/gizmos.{group}")


def test_other_versions_show_the_same_objects(cluster, namespace, post):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    body = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}}
    post("horizontalpodautoscalers", body, version="autoscaling/v2")
    path = f"namespaces/{namespace}/horizontalpodautoscalers/h"
    shown = cluster.call("GET", f"/apis/autoscaling/v1/{path}")
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 80
    post("horizontalpodautoscalers", body, version="autoscaling/v1", code=501)
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "message": "text",
        "reason": "Tested",
    }
    post("events", event)
    shown = cluster.call("GET", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events/e")
    assert (shown["note"], shown["regarding"]["name"]) == ("text", "p")


@pytest.mark.parametrize(
    ("spec", "container", "field"),
    [
        ({}, {"livenessProbe": {"httpGet": {"port": 80, "scheme": "FTP"}}}, "livenessProbe.httpGet.scheme"),
        ({}, {"lifecycle": {"preStop": {"sleep": {"seconds": 100}}}}, "lifecycle.preStop.sleep"),
        ({}, {"resources": {"requests": {"x.io/gpu": "1"}}}, "resources.limits"),
        ({}, {"envFrom": [{"prefix": "a=", "secretRef": {"name": "s"}}]}, "envFrom[0].prefix"),
        ({}, {"volumeDevices": [{"name": "x", "devicePath": "/d"}]}, "volumeDevices[0].name"),
        ({}, {"securityContext": {"appArmorProfile": {"type": "Odd"}}}, "securityContext.appArmorProfile.type"),
        ({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "x"}}]}, {}, "spec.volumes[0].nfs.path"),
        ({"volumes": [{"name": "v", "downwardAPI": {"items": [{"path": "a"}]}}]}, {}, "spec.volumes[0].downwardAPI"),
        ({"hostUsers": False, "hostPID": True}, {}, "spec.HostPID"),
        ({"schedulingGates": [{"name": "a"}, {"name": "a"}]}, {}, "spec.schedulingGates[1]"),
        ({"hostAliases": [{"ip": "x"}]}, {}, "spec.hostAliases[0].ip"),
        ({"dnsConfig": {"options": [{"value": "1"}]}}, {}, "spec.dnsConfig.options[0]"),
    ],
)  # fmt: skip
def test_pod_specs_are_judged_in_all_their_parts(post, spec, container, field):
    body = pod(**container)
    body["spec"] |= spec
    causes = post("pods", body, code=422)["details"]["causes"]
    place = field if field.startswith("spec.") else f"spec.containers[0].{field}"
    assert place in [cause["field"] for cause in causes]


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ("a===", "found '=', expected: identifier"),
        ("a b", "found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in", "found '' expected: '('"),
        ("a>x", "the value must be an integer"),
        ("a=b c", "expected: ',' or 'end of string'"),
        ("A_//x", "a valid label key must consist of"),
    ],
)
def test_label_selectors_are_parsed_to_the_end(cluster, namespace, selector, why):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status = cluster.call("GET", path, code=400, labelSelector=selector)
    assert status["message"].startswith("unable to parse requirement: ")
    assert why in status["message"]


def test_types_that_nothing_acts_on_are_listed_and_refuse_writes(cluster):
    groups = {group["name"] for group in cluster.call("GET", "/apis")["groups"]}
    assert groups >= {"apiregistration.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io"}
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    assert cluster.call("GET", path)["items"] == []
    status = cluster.call("POST", path, {"metadata": {"name": "v1.x.example"}}, code=501)
    assert "does not model apiservices" in status["message"]


def test_methods_a_path_does_not_take(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    for method, at in (("PUT", path), ("PATCH", path), ("POST", f"{path}/c")):
        cluster.call(method, at, {}, code=405, content_type="application/json")
    cluster.call("GET", "/api/v1/pods/x", code=404)


def test_what_a_service_has_of_its_old_type_goes(post, cluster, namespace):
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
    post("services", {"metadata": {"name": "v"}, "spec": spec})
    path = f"/api/v1/namespaces/{namespace}/services/v"
    merge = {"content_type": "application/merge-patch+json"}
    changed = cluster.call("PATCH", path, {"spec": {"type": "ClusterIP"}}, **merge)["spec"]
    gone = {"allocateLoadBalancerNodePorts", "externalTrafficPolicy"}
    assert not gone & changed.keys()
    assert "nodePort" not in changed["ports"][0]


def test_a_claim_is_protected_until_it_is_deleted(post, cluster, namespace):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    made = post("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": spec})
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/c"
    assert "deletionTimestamp" in cluster.call("DELETE", path)["metadata"]
    cluster.call("GET", path, code=404)


@pytest.mark.parametrize(
    ("plural", "version", "spec", "status", "fields"),
    [
        (
            "services", "v1", {"type": "LoadBalancer", "ports": [{"port": 80}]},
            {"loadBalancer": {"ingress": [{"ip": "x"}]}}, {"status.loadBalancer.ingress[0].ip"},
        ),
        (
            "services", "v1", {"ports": [{"port": 80}]},
            {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}, {"status.loadBalancer.ingress"},
        ),
        (
            "deployments", "apps/v1",
            {
                "selector": {"matchLabels": {"a": "b"}}, "replicas": 0, "paused": True,
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]},
            },
            {"replicas": -1, "readyReplicas": 0}, {"status.replicas", "status.readyReplicas", "status.updatedReplicas",
                                                   "status.availableReplicas"},
        ),
        ("pods", "v1", pod()["spec"], {"podIP": "x"}, {"status.podIPs[0]"}),
    ],
)  # fmt: skip
def test_statuses_are_judged(cluster, namespace, post, plural, version, spec, status, fields):
    post(plural, {"metadata": {"name": "x"}, "spec": spec}, version=version)
    root = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    answer = cluster.call(
        "PATCH", f"{root}/namespaces/{namespace}/{plural}/x/status", {"status": status},
        content_type="application/merge-patch+json", code=422,
    )  # fmt: skip
    assert {cause["field"] for cause in answer["details"]["causes"]} == fields


def test_a_job_leaves_its_pods_unless_told_otherwise(cluster, namespace, post):
    spec = {
        "suspend": True,
        "template": {"spec": {"restartPolicy": "Never", **pod()["spec"]}},
    }
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs/j"
    post("jobs", {"metadata": {"name": "j"}, "spec": spec}, version="batch/v1")
    answer = cluster.raw("DELETE", path)
    assert answer.json()["metadata"]["finalizers"] == ["orphan"]
    assert "child pods are preserved by default" in answer.headers["Warning"]
    post("jobs", {"metadata": {"name": "k"}, "spec": spec}, version="batch/v1")
    answer = cluster.raw("DELETE", path[:-1] + "k", propagationPolicy="Background")
    assert answer.json()["status"] == "Success"
    assert "Warning" not in answer.headers


def test_requests_follow_limits_in_pods_and_not_in_templates(post):
    limited = pod(resources={"limits": {"cpu": "1"}})
    made = post("pods", limited)["spec"]["containers"][0]["resources"]
    assert made == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": limited["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    made = post("deployments", {"metadata": {"name": "d"}, "spec": spec}, version="apps/v1")
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"] == {"limits": {"cpu": "1"}}


def test_an_event_of_the_new_kind_says_when_and_by_whom(post):
    event = {"metadata": {"name": "e"}, "type": "Normal", "reason": "R", "regarding": {}}
    answer = post("events", event, version="events.k8s.io/v1", code=422)
    assert [cause["field"] for cause in answer["details"]["causes"]] == ["eventTime"]
    event["eventTime"] = "2026-01-01T00:00:00.000000Z"
    answer = post("events", event, version="events.k8s.io/v1", code=422)
    fields = [cause["field"] for cause in answer["details"]["causes"]]
    assert fields == ["reportingController", "reportingInstance", "action"]


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "self"}]},
            "cel expression must evaluate to a bool",
        ),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "true", "messageExpression": "1"}]},
            "messageExpression must evaluate to a string",
        ),
        (
            {"type": "array", "items": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}},
            "oldSelf cannot be used on the uncorrelatable portion",
        ),
    ],
)  # fmt: skip
def test_rules_of_a_definition_have_the_right_type(cluster, schema, text):
    names = {"plural": "odds", "kind": "Odd"}
    root = {"type": "object", "properties": {"a": schema}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}}
    spec = {"group": "x.example", "scope": "Namespaced", "names": names, "versions": [version]}
    answer = cluster.call(
        "POST", CRDS, {"metadata": {"name": "odds.x.example"}, "spec": spec}, code=422
    )
    assert text in answer["message"]


def test_a_quota_and_a_claim_are_printed_in_their_columns(cluster, namespace, post):
    post(
        "resourcequotas",
        {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "limits.cpu": "2"}}},
    )
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    post("persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}

    def cells(plural):
        path = f"/api/v1/namespaces/{namespace}/{plural}"
        return cluster.call("GET", path, headers=accept)["rows"][0]["cells"]

    assert cells("resourcequotas")[:3] == ["q", "pods: 0/1", "limits.cpu: 0/2"]
    assert cells("persistentvolumeclaims")[:7] == ["c", "Pending", "", "", "", "", "<unset>"]
