"""The REST conventions: metadata, concurrency, lists, paging, selectors, dry run, deletion."""

from __future__ import annotations

import threading

import pytest


@pytest.fixture
def configmaps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def names(answer):
    return [item["metadata"]["name"] for item in answer["items"]]


def test_create_sets_what_the_server_owns(cluster, configmaps, namespace):
    made = cluster.call(
        "POST", configmaps, {"metadata": {"generateName": "a-", "uid": "mine", "generation": 9}}
    )
    metadata = made["metadata"]
    assert metadata["name"].startswith("a-")
    assert len(metadata["name"]) == 7
    assert metadata["namespace"] == namespace
    assert metadata["uid"] != "mine"
    assert metadata["resourceVersion"].isdigit()
    assert metadata["creationTimestamp"].endswith("Z")
    assert metadata["generation"] == 9, "kinds that do not count it keep what they are sent"
    assert (made["apiVersion"], made["kind"]) == ("v1", "ConfigMap")


def test_refusals_of_create(cluster, configmaps):
    assert (
        "name or generateName is required"
        in (cluster.call("POST", configmaps, {"metadata": {}}, code=422)["message"])
    )
    status = cluster.call("POST", configmaps, {"metadata": {"name": "A_b"}}, code=422)
    assert status["reason"] == "Invalid"
    assert status["details"]["causes"][0]["field"] == "metadata.name"
    assert 'ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b"' in status["message"]
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})
    status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, code=409)
    assert (status["reason"], status["message"]) == (
        "AlreadyExists",
        'configmaps "a" already exists',
    )
    status = cluster.call(
        "POST", configmaps, {"apiVersion": "v2", "metadata": {"name": "b"}}, code=400
    )
    assert 'no kind "ConfigMap" is registered for version "v2"' in status["message"]
    status = cluster.call(
        "POST", "/api/v1/namespaces/nowhere/configmaps", {"metadata": {"name": "a"}}, code=404
    )
    assert status["message"] == 'namespaces "nowhere" not found'
    assert status["details"] == {"name": "nowhere", "kind": "namespaces"}
    assert cluster.call("POST", configmaps, b"{", code=400)["reason"] == "BadRequest"
    cluster.call("POST", configmaps, b"x", content_type="text/plain", code=415)


def test_wrong_types_and_unknown_fields(cluster, configmaps, namespace):
    status = cluster.call("POST", configmaps, {"metadata": {"name": "a"}, "data": []}, code=400)
    assert status["message"].startswith(
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array'
    )
    body = {"metadata": {"name": "a", "lables": {}}, "dat": {}}
    status = cluster.call("POST", configmaps, body, fieldValidation="Strict", code=400)
    assert status["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
        'strict decoding error: unknown field "metadata.lables", unknown field "dat"'
    )
    answer = cluster.raw("POST", configmaps, body)
    assert answer.headers["Warning"] == (
        '299 - "unknown field \\"metadata.lables\\"", 299 - "unknown field \\"dat\\""'
    )
    assert "dat" not in answer.json()
    body["metadata"]["name"] = "b"
    assert "Warning" not in cluster.raw("POST", configmaps, body, fieldValidation="Ignore").headers


def test_optimistic_concurrency(cluster, configmaps):
    first = cluster.call("POST", configmaps, {"metadata": {"name": "a"}, "data": {"k": "1"}})
    second = cluster.call("PUT", f"{configmaps}/a", {**first, "data": {"k": "2"}})
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    status = cluster.call("PUT", f"{configmaps}/a", {**first, "data": {"k": "3"}}, code=409)
    assert status["message"] == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please '
        "apply your changes to the latest version and try again"
    )
    same = cluster.call("PUT", f"{configmaps}/a", second)
    assert same == second, "an update that changes nothing is no change"
    body = {"metadata": {"name": "a", "uid": "another"}}
    assert (
        "Precondition failed: UID"
        in (cluster.call("PUT", f"{configmaps}/a", body, code=409)["message"])
    )
    body = {"metadata": {"name": "b"}}
    assert (
        "does not match the name on the URL"
        in (cluster.call("PUT", f"{configmaps}/a", body, code=400)["message"])
    )


def test_lists_are_paged_and_consistent(cluster, configmaps):
    for number in range(7):
        cluster.call("POST", configmaps, {"metadata": {"name": f"c{number}"}})
    first = cluster.call("GET", configmaps, limit=3)
    assert names(first) == ["c0", "c1", "c2"]
    assert first["metadata"]["remainingItemCount"] == 4
    cluster.call("DELETE", f"{configmaps}/c4")
    cluster.call("POST", configmaps, {"metadata": {"name": "c33"}})
    token = first["metadata"]["continue"]
    second = cluster.call("GET", configmaps, limit=3, **{"continue": token})
    assert names(second) == ["c3", "c4", "c5"], "as it was when the first page was read"
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    third = cluster.call("GET", configmaps, **{"continue": second["metadata"]["continue"]})
    assert names(third) == ["c6"]
    assert "continue" not in third["metadata"]
    cluster.call("GET", configmaps, code=400, **{"continue": "nonsense"})


def test_list_of_a_future_version_is_told_to_wait(cluster, configmaps):
    status = cluster.call("GET", configmaps, code=504, resourceVersion="99999999")
    assert status["reason"] == "Timeout"


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", ["a", "b"]),
        ("app==web,tier!=back", ["a"]),
        ("app in (web, db)", ["a", "b", "c"]),
        ("app notin (web)", ["c", "d"]),
        ("tier", ["b"]),
        ("!app", ["d"]),
        ("app,!tier", ["a", "c"]),
        ("size>3", ["c"]),
        ("size<3", ["a"]),
    ],
)
def test_label_selectors(cluster, labelled, selector, expected):
    assert names(cluster.call("GET", labelled, labelSelector=selector)) == expected


@pytest.fixture(scope="module")
def labelled(cluster):
    path = f"/api/v1/namespaces/{cluster.namespace()}/configmaps"
    for name, labels in {
        "a": {"app": "web", "size": "1"},
        "b": {"app": "web", "tier": "back", "size": "3"},
        "c": {"app": "db", "size": "9"},
        "d": {},
    }.items():
        cluster.call("POST", path, {"metadata": {"name": name, "labels": labels}})
    return path


def test_selectors_that_cannot_be(cluster, configmaps):
    assert (
        "unable to parse"
        in cluster.call("GET", configmaps, code=400, labelSelector="a=b c")["message"]
    )
    assert (
        '"data.x" is not a known field selector'
        in (cluster.call("GET", configmaps, code=400, fieldSelector="data.x=1")["message"])
    )


def test_field_selectors(cluster, configmaps, namespace):
    for name in ("a", "b"):
        cluster.call("POST", configmaps, {"metadata": {"name": name}})
    assert names(cluster.call("GET", configmaps, fieldSelector="metadata.name=a")) == ["a"]
    assert names(cluster.call("GET", configmaps, fieldSelector="metadata.name!=a")) == ["b"]
    everywhere = cluster.call(
        "GET", "/api/v1/configmaps", fieldSelector=f"metadata.namespace={namespace}"
    )
    assert names(everywhere) == ["a", "b"]


def test_dry_run_changes_nothing(cluster, configmaps):
    made = cluster.call("POST", configmaps, {"metadata": {"name": "a"}}, dryRun="All")
    assert made["metadata"]["uid"]
    cluster.call("GET", f"{configmaps}/a", code=404)
    kept = cluster.call("POST", configmaps, {"metadata": {"name": "a"}})
    changed = cluster.call("PUT", f"{configmaps}/a", {**kept, "data": {"k": "v"}}, dryRun="All")
    assert changed["data"] == {"k": "v"}
    cluster.call("DELETE", f"{configmaps}/a", dryRun="All")
    assert cluster.call("GET", f"{configmaps}/a") == kept
    assert cluster.call("POST", configmaps, {}, code=422, dryRun="Some")["reason"] == "Invalid"


def test_delete_waits_for_finalizers(cluster, configmaps):
    cluster.call("POST", configmaps, {"metadata": {"name": "a", "finalizers": ["x.io/a"]}})
    dying = cluster.call("DELETE", f"{configmaps}/a")
    assert dying["metadata"]["deletionTimestamp"]
    kept = cluster.call("GET", f"{configmaps}/a")
    kept["metadata"]["finalizers"] = []
    cluster.call("PUT", f"{configmaps}/a", kept)
    assert cluster.call("GET", f"{configmaps}/a", code=404)["message"] == (
        'configmaps "a" not found'
    )


def test_delete_preconditions_and_answer(cluster, configmaps):
    made = cluster.call("POST", configmaps, {"metadata": {"name": "a"}})
    status = cluster.call(
        "DELETE", f"{configmaps}/a", {"preconditions": {"uid": "another"}}, code=409
    )
    assert "the UID in the precondition (another) does not match" in status["message"]
    answer = cluster.call(
        "DELETE", f"{configmaps}/a", {"preconditions": {"uid": made["metadata"]["uid"]}}
    )
    assert answer["status"] == "Success"
    assert answer["details"] == {
        "name": "a",
        "kind": "configmaps",
        "uid": made["metadata"]["uid"],
    }


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Orphan", ["orphan"]), ("Foreground", ["foregroundDeletion"])]
)
def test_propagation_is_left_to_the_garbage_collector(cluster, configmaps, policy, finalizers):
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})
    dying = cluster.call("DELETE", f"{configmaps}/a", {"propagationPolicy": policy})
    assert dying["metadata"]["finalizers"] == finalizers
    cluster.call("DELETE", f"{configmaps}/a", {"propagationPolicy": "Bottomup"}, code=422)


def test_delete_collection_by_selector(cluster, configmaps):
    for name in ("a", "b", "c"):
        labels = {"keep": "no"} if name != "c" else {}
        cluster.call("POST", configmaps, {"metadata": {"name": name, "labels": labels}})
    cluster.call("DELETE", configmaps, labelSelector="keep")
    assert names(cluster.call("GET", configmaps)) == ["c"]


def test_pods_that_run_end_gracefully(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/pods"
    body = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    cluster.call("POST", path, body)
    cluster.call("DELETE", f"{path}/p")
    cluster.call("GET", f"{path}/p", code=404)  # not scheduled: gone at once
    cluster.call("POST", path, body)
    binding = {"target": {"kind": "Node", "name": "n"}}
    cluster.call("POST", f"{path}/p/binding", {"metadata": {"name": "p"}, **binding})
    dying = cluster.call("DELETE", f"{path}/p")
    assert dying["metadata"]["deletionGracePeriodSeconds"] == 30
    assert cluster.call("GET", f"{path}/p")["metadata"]["deletionTimestamp"]
    cluster.call("DELETE", f"{path}/p", {"gracePeriodSeconds": 0})
    cluster.call("GET", f"{path}/p", code=404)


def test_a_terminating_namespace_takes_nothing_new(cluster, namespace):
    cluster.call("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "a"}})
    dying = cluster.call("DELETE", f"/api/v1/namespaces/{namespace}")
    assert dying["status"]["phase"] == "Terminating"
    status = cluster.call(
        "POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "b"}}, code=403
    )
    assert status["message"] == (
        f'configmaps "b" is forbidden: unable to create new content in namespace {namespace} '
        "because it is being terminated"
    )
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    dying["spec"]["finalizers"] = []
    cluster.call("PUT", f"/api/v1/namespaces/{namespace}/finalize", dying)
    cluster.call("GET", f"/api/v1/namespaces/{namespace}", code=404)


def test_system_namespaces_stay(cluster):
    status = cluster.call("DELETE", "/api/v1/namespaces/kube-system", code=403)
    assert "this namespace may not be deleted" in status["message"]


def test_writers_in_parallel_lose_nothing(cluster, configmaps):
    cluster.call("POST", configmaps, {"metadata": {"name": "a"}})

    def write(number: int) -> None:
        cluster.call(
            "PATCH",
            f"{configmaps}/a",
            {"data": {f"k{number}": "v"}},
            content_type="application/merge-patch+json",
        )

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(cluster.call("GET", f"{configmaps}/a")["data"]) == 8


def test_status_and_spec_are_written_apart(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/services"
    made = cluster.call(
        "POST",
        path,
        {
            "metadata": {"name": "s"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
        },
    )
    assert made["status"] == {"loadBalancer": {}}
    made["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    made["spec"]["ports"][0]["port"] = 81
    after = cluster.call("PUT", f"{path}/s/status", made)
    assert after["status"]["loadBalancer"]["ingress"] == [{"ip": "1.2.3.4", "ipMode": "VIP"}]
    assert after["spec"]["ports"][0]["port"] == 80


def test_what_is_not_there(cluster, namespace):
    assert cluster.call("GET", "/api/v1/things", code=404)["message"] == (
        "the server could not find the requested resource"
    )
    assert cluster.raw("GET", "/nonsense").text == "404 page not found\n"
    assert cluster.call("PUT", "/api/v1/pods", {}, code=405)["reason"] == "MethodNotAllowed"
    path = f"/api/v1/namespaces/{namespace}/pods"
    cluster.call(
        "POST",
        path,
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    )
    assert cluster.call("POST", f"{path}/p/exec", code=501)["reason"] == "NotImplemented"


def test_the_index_of_schemas_is_sent_as_text_its_documents_as_json(cluster):
    """API servers set no content type for the index, and Go then detects one."""
    index = cluster.raw("GET", "/openapi/v3")
    assert index.headers["Content-Type"] == "text/plain; charset=utf-8"
    document = cluster.raw("GET", index.json()["paths"]["apis/apps/v1"]["serverRelativeURL"])
    assert document.headers["Content-Type"].startswith("application/json")
