"""Server-side apply: merging, ownership, conflicts, as upstream's structured-merge-diff."""

from __future__ import annotations

import json
from typing import Any

import pytest

Json = dict[str, Any]


def deployment(name: str, *containers: Json, **spec: Any) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": list(containers)},
            },
            **spec,
        },
    }


def container(name: str, **fields: Any) -> Json:
    return {"name": name, "image": f"{name}:1", **fields}


@pytest.fixture
def path(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/web"


def owners(obj: Json) -> dict[str, Json]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"]["managedFields"]}


def test_creates_then_changes_nothing(cluster, path):
    body = deployment("web", container("a"))
    first = cluster.raw(
        "PATCH", path, body, content_type="application/apply-patch+yaml", fieldManager="one"
    )
    assert first.status_code == 201
    made = first.json()
    for _ in range(3):
        again = cluster.apply(path, body)
        assert again == made
    assert made["metadata"]["managedFields"][0]["operation"] == "Apply"
    assert made["spec"]["replicas"] == 1, "defaults are filled in"
    assert "f:replicas" not in owners(made)["one"]["f:spec"], "but nobody owns them"


def test_a_repeated_configuration_undoes_what_others_changed(cluster, path):
    body = deployment("web", container("a"), replicas=2)
    for _ in range(3):
        cluster.apply(path, body)
    patch = {"spec": {"replicas": 5}}
    cluster.raw("PATCH", path, patch, content_type="application/merge-patch+json")
    assert cluster.apply(path, body, force="true")["spec"]["replicas"] == 2
    assert cluster.call("GET", path)["spec"]["replicas"] == 2


def test_ownership_has_upstreams_form(cluster, path):
    body = deployment("web", container("a", ports=[{"containerPort": 80}]))
    fields = owners(cluster.apply(path, body))["one"]
    assert fields == {
        "f:spec": {
            "f:selector": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"a"}': {
                            ".": {},
                            "f:name": {},
                            "f:image": {},
                            "f:ports": {
                                'k:{"containerPort":80,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                }
                            },
                        }
                    }
                },
            },
        }
    }


def test_a_field_no_longer_applied_goes(cluster, path):
    cluster.apply(path, deployment("web", container("a"), container("b"), minReadySeconds=5))
    after = cluster.apply(path, deployment("web", container("a")))
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["a"]
    assert "minReadySeconds" not in after["spec"]
    assert after["metadata"]["generation"] == 2


def test_what_somebody_else_also_owns_stays(cluster, path):
    cluster.apply(path, deployment("web", container("a"), minReadySeconds=5))
    cluster.apply(path, deployment("web", container("a"), minReadySeconds=5), manager="two")
    after = cluster.apply(path, deployment("web", container("a")))
    assert after["spec"]["minReadySeconds"] == 5
    assert "f:minReadySeconds" not in owners(after)["one"]["f:spec"]


def test_list_items_of_several_managers_merge_by_key(cluster, path):
    cluster.apply(path, deployment("web", container("a")))
    sidecar = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": [container("b")]}}},
    }
    after = cluster.apply(path, sidecar, manager="injector")
    assert {c["name"] for c in after["spec"]["template"]["spec"]["containers"]} == {"a", "b"}
    sidecar["spec"] = {"template": {"spec": {}}}
    after = cluster.apply(path, sidecar, manager="injector")
    assert [c["name"] for c in after["spec"]["template"]["spec"]["containers"]] == ["a"]


def test_conflict_names_manager_and_field(cluster, path):
    cluster.apply(path, deployment("web", container("a"), replicas=2))
    status = cluster.apply(
        path, deployment("web", container("a"), replicas=3), manager="two", code=409
    )
    assert status["reason"] == "Conflict"
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    )
    assert status["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one"',
            "field": ".spec.replicas",
        }
    ]


def test_conflict_with_an_update_names_its_version(cluster, path):
    cluster.apply(path, deployment("web", container("a")))
    cluster.call(
        "PATCH",
        path,
        {"spec": {"replicas": 4}},
        content_type="application/merge-patch+json",
        fieldManager="scaler",
    )
    body = deployment("web", container("a", image="a:2"), replicas=1, minReadySeconds=1)
    status = cluster.apply(path, body, code=409)
    assert status["message"] == (
        'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas'
    )


def test_several_conflicts_are_told_at_once(cluster, path):
    cluster.apply(path, deployment("web", container("a"), replicas=2, minReadySeconds=1))
    body = deployment("web", container("a", image="a:2"), replicas=3, minReadySeconds=2)
    status = cluster.apply(path, body, manager="two", code=409)
    assert status["message"] == (
        'Apply failed with 3 conflicts: conflicts with "one":\n'
        "- .spec.minReadySeconds\n"
        "- .spec.replicas\n"
        '- .spec.template.spec.containers[name="a"].image'
    )


def test_force_takes_the_field_over(cluster, path):
    cluster.apply(path, deployment("web", container("a"), replicas=2))
    after = cluster.apply(
        path, deployment("web", container("a"), replicas=3), manager="two", force="true"
    )
    assert after["spec"]["replicas"] == 3
    assert "f:replicas" not in owners(after)["one"]["f:spec"]
    assert "f:replicas" in owners(after)["two"]["f:spec"]


def test_dry_run_tells_but_does_not_store(cluster, path):
    body = deployment("web", container("a"))
    predicted = cluster.apply(path, body, dryRun="All")
    assert predicted["spec"]["replicas"] == 1
    cluster.call("GET", path, code=404)
    made = cluster.apply(path, body)
    changed = deployment("web", container("a", image="a:2"))
    predicted = cluster.apply(path, changed, dryRun="All")
    assert cluster.call("GET", path) == made
    real = cluster.apply(path, changed)
    assert predicted["spec"] == real["spec"]
    assert cluster.apply(path, changed, dryRun="All") == real, "a dry no-op is recognisable"


def test_status_is_owned_apart(cluster, path):
    made = cluster.apply(path, deployment("web", container("a")))
    status = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "status": {"replicas": 1, "conditions": [_condition("Available"), _condition("Other")]},
    }
    after = cluster.apply(f"{path}/status", status, manager="controller")
    assert after["metadata"]["generation"] == made["metadata"]["generation"]
    entry = next(e for e in after["metadata"]["managedFields"] if e["manager"] == "controller")
    assert entry["subresource"] == "status"
    assert set(entry["fieldsV1"]) == {"f:status"}
    assert cluster.apply(path, deployment("web", container("a")))["status"]["replicas"] == 1


def _condition(type_: str) -> Json:
    return {"type": type_, "status": "True", "reason": "R", "message": ""}


def test_unknown_field_is_refused(cluster, path):
    body = deployment("web", container("a"), replics=1)
    body["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    status = cluster.apply(path, body, code=500)
    assert ".spec.replics: field not declared in schema" in status["message"]
    assert ".spec.template.spec.containers[0].imagee: field not declared" in status["message"]


def test_options_are_checked(cluster, path):
    body = deployment("web", container("a"))
    status = cluster.call(
        "PATCH", path, body, content_type="application/apply-patch+yaml", code=422
    )
    assert "fieldManager: Required value: is required for apply patch" in status["message"]
    cluster.apply(path, body)
    status = cluster.call(
        "PATCH", path, {}, content_type="application/merge-patch+json", force="true", code=422
    )
    assert "force: Forbidden: may not be specified for non-apply patch" in status["message"]
    body["metadata"]["managedFields"] = [{"manager": "x"}]
    status = cluster.apply(path, body, code=400)
    assert status["message"] == "metadata.managedFields must be nil"


def test_sets_merge_by_value(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"

    def body(*finalizers: str) -> Json:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "c", "finalizers": list(finalizers)},
        }

    cluster.apply(path, body("a.io/x", "a.io/y"))
    cluster.apply(path, body("a.io/z"), manager="two")
    after = cluster.apply(path, body("a.io/x"))
    assert sorted(after["metadata"]["finalizers"]) == ["a.io/x", "a.io/z"]
    after = cluster.apply(path, body())
    assert after["metadata"]["finalizers"] == ["a.io/z"]


def test_managed_fields_can_be_cleared_and_begin_again(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    cluster.apply(path, body)
    cleared = cluster.call(
        "PATCH",
        path,
        {"metadata": {"managedFields": [{}]}},
        content_type="application/merge-patch+json",
    )
    assert "managedFields" not in cleared["metadata"]
    after = cluster.apply(path, body)
    assert set(owners(after)) == {"before-first-apply", "one"}


def test_kubectl_takes_over_what_it_applied_from_the_client(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.call(
        "POST",
        path,
        {
            "metadata": {
                "name": "c",
                "annotations": {
                    "kubectl.kubernetes.io/last-applied-configuration": (
                        '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},'
                        '"data":{"a":"1"}}'
                    )
                },
            },
            "data": {"a": "1"},
        },
        fieldManager="kubectl-client-side-apply",
    )
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}}
    assert cluster.apply(f"{path}/c", body, manager="kubectl")["data"] == {"a": "2"}


def test_an_empty_map_is_dropped_but_owned(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/empty"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "empty"}, "data": {}}
    made = cluster.apply(path, body)
    assert "data" not in made
    (entry,) = made["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {}}


def test_a_pair_of_escapes_is_refused_since_yaml_has_none(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/configmaps/a"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "\U0001f680"}}
    text = json.dumps({**body, "metadata": {"name": "a"}})
    status = cluster.apply(path, text.encode(), code=400)
    assert status["message"] == (
        "error decoding YAML: error converting YAML to JSON: yaml: found invalid Unicode character"
        " escape code"
    )
    raw = json.dumps(json.loads(text), ensure_ascii=False)
    assert cluster.apply(path, raw.encode())["data"] == body["data"]
    written = cluster.apply(path, text.replace("\\ud83d\\ude80", "\\\\ud83d").encode())
    assert written["data"] == {"a": "\\ud83d"}
