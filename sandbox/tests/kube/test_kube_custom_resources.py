"""Custom resources: served once defined; pruned, defaulted, validated; cleaned up."""

from __future__ import annotations

import pytest

GROUP = "tests.example.org"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 9},
        "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "when": {"type": "string", "format": "date-time"},
        "flags": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "parts": {
            "type": "array",
            "maxItems": 3,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "weight": {"type": "integer", "default": 1},
                },
            },
        },
    },
}


def definition(plural: str, kind: str, **version):
    return {
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "shortNames": [kind[:2].lower()]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.size",
                            "statusReplicasPath": ".status.size",
                        },
                    },
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "spec": SPEC,
                                "status": {
                                    "type": "object",
                                    "x-kubernetes-preserve-unknown-fields": True,
                                },
                            },
                        }
                    },
                    "additionalPrinterColumns": [
                        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                        {
                            "name": "Ready",
                            "type": "string",
                            "jsonPath": ".status.conditions[?(@.type=='Ready')].status",
                        },
                        {
                            "name": "Color",
                            "type": "string",
                            "jsonPath": ".spec.color",
                            "priority": 1,
                        },
                    ],
                    **version,
                },
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": False,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "x-kubernetes-preserve-unknown-fields": True,
                        }
                    },
                },
            ],
        },
    }


@pytest.fixture(scope="module")
def widgets(cluster):
    made = cluster.call("POST", CRDS, definition("widgets", "Widget"))
    assert made["status"]["conditions"] is None, "names are judged after the write"
    made = cluster.call("GET", f"{CRDS}/{made['metadata']['name']}")
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert made["spec"]["names"]["listKind"] == "WidgetList"
    return f"/apis/{GROUP}/v1/namespaces"


@pytest.fixture
def path(widgets, namespace):
    return f"{widgets}/{namespace}/widgets"


def widget(**spec):
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Widget",
        "metadata": {"name": "w"},
        "spec": {"size": 1, **spec},
    }


def test_defaults_and_prunes(cluster, path):
    body = widget(parts=[{"name": "a", "x": 1}], unknown=1, free={"any": {"thing": 1}})
    answer = cluster.raw("POST", path, body)
    made = answer.json()
    assert made["spec"] == {
        "size": 1,
        "color": "red",
        "parts": [{"name": "a", "weight": 1}],
        "free": {"any": {"thing": 1}},
    }
    assert 'unknown field \\"spec.unknown\\"' in answer.headers["Warning"]
    assert 'unknown field \\"spec.parts[0].x\\"' in answer.headers["Warning"]
    assert made["metadata"]["generation"] == 1
    body["metadata"]["name"] = "v"
    status = cluster.call("POST", path, body, code=400, fieldValidation="Strict")
    assert "Widget: strict decoding error: unknown field" in status["message"]


def test_tells_all_violations_at_once(cluster, path):
    body = widget(
        size=10,
        color="blue",
        name="Upper-and-long",
        port=True,
        when="yesterday",
        flags={"a": "b"},
        parts=[{"weight": 1}, {"name": "x"}, {"name": "x"}, {"name": "y"}],
    )
    status = cluster.call("POST", path, body, code=422)
    messages = {cause["field"]: cause["message"] for cause in status["details"]["causes"]}
    assert messages["spec.size"] == (
        "Invalid value: 10: spec.size in body should be less than or equal to 9"
    )
    assert messages["spec.color"] == ('Unsupported value: "blue": supported values: "red", "green"')
    assert messages["spec.when"] == (
        'Invalid value: "yesterday": spec.when in body must be of type date-time: "yesterday"'
    )
    assert messages["spec.flags.a"] == (
        'Invalid value: "string": spec.flags.a in body must be of type boolean: "string"'
    )
    assert messages["spec.parts[0].name"] == "Required value"
    assert set(messages) >= {"spec.name", "spec.port", "spec.parts", "spec.parts[2]"}
    assert status["message"].startswith(f'Widget.{GROUP} "w" is invalid: [')
    status = cluster.call("POST", path, {**widget(), "spec": {}}, code=422)
    assert status["message"] == f'Widget.{GROUP} "w" is invalid: spec.size: Required value'


def test_generation_counts_the_spec_only(cluster, path):
    made = cluster.call("POST", path, widget())
    made["status"] = {"size": 4}
    after = cluster.call("PUT", f"{path}/w/status", made)
    assert (after["metadata"]["generation"], after["status"]) == (1, {"size": 4})
    after["metadata"]["labels"] = {"a": "b"}
    after["status"] = {"size": 5}
    after = cluster.call("PUT", f"{path}/w", after)
    assert (after["metadata"]["generation"], after["status"]) == (1, {"size": 4})
    after["spec"]["size"] = 2
    assert cluster.call("PUT", f"{path}/w", after)["metadata"]["generation"] == 2
    del after["metadata"]["resourceVersion"]
    status = cluster.call("PUT", f"{path}/w", after, code=422)
    assert (
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        in (status["message"])
    )


def test_scales(cluster, path):
    cluster.call("POST", path, widget(size=2))
    scale = cluster.call("GET", f"{path}/w/scale")
    assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 2})
    scale["spec"]["replicas"] = 5
    cluster.call("PUT", f"{path}/w/scale", scale)
    after = cluster.call("GET", f"{path}/w")
    assert (after["spec"]["size"], after["metadata"]["generation"]) == (5, 2)


def test_versions_show_the_same_objects(cluster, path, namespace):
    cluster.call("POST", path, widget())
    other = f"/apis/{GROUP}/v1beta1/namespaces/{namespace}/widgets"
    seen = cluster.call("GET", f"{other}/w")
    assert seen["apiVersion"] == f"{GROUP}/v1beta1"
    seen["spec"]["size"] = 3
    cluster.call("PUT", f"{other}/w", seen)
    assert cluster.call("GET", f"{path}/w")["spec"]["size"] == 3
    assert cluster.call("GET", other)["items"][0]["apiVersion"] == f"{GROUP}/v1beta1"


def test_applies_by_the_definitions_list_keys(cluster, path):
    cluster.apply(f"{path}/w", widget(parts=[{"name": "a", "weight": 2}]))
    other = widget(parts=[{"name": "b"}])
    del other["spec"]["size"]
    after = cluster.apply(f"{path}/w", other, manager="two")
    assert [part["name"] for part in after["spec"]["parts"]] == ["a", "b"]
    status = cluster.apply(f"{path}/w", widget(parts=[{"name": "a", "weight": 3}]), manager="two",
                           code=409)  # fmt: skip
    assert status["details"]["causes"][0]["field"] == '.spec.parts[name="a"].weight'
    status = cluster.apply(f"{path}/w", widget(nonsense=1), code=500)
    assert ".spec.nonsense: field not declared in schema" in status["message"]


def test_strategic_merge_is_for_builtin_kinds(cluster, path):
    cluster.call("POST", path, widget())
    status = cluster.call(
        "PATCH",
        f"{path}/w",
        {},
        content_type="application/strategic-merge-patch+json",
        code=415,
    )
    assert "application/merge-patch+json" in status["message"]


def test_tables_have_the_definitions_columns(cluster, path):
    cluster.call("POST", path, widget(size=7))
    made = cluster.call("GET", f"{path}/w")
    made["status"] = {"conditions": [{"type": "Ready", "status": "True"}]}
    cluster.call("PUT", f"{path}/w/status", made)
    table = cluster.call(
        "GET", path, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    )
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "Size",
        "Ready",
        "Color",
    ]
    assert table["rows"][0]["cells"] == ["w", 7, "True", "red"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_definitions_are_checked(cluster):
    bad = definition("gadgets", "Gadget")
    bad["metadata"]["name"] = "gadget"
    bad["spec"]["scope"] = "Galaxy"
    bad["spec"]["versions"][1]["storage"] = True
    del bad["spec"]["versions"][1]["schema"]
    status = cluster.call("POST", CRDS, bad, code=422)
    fields = {cause["field"] for cause in status["details"]["causes"]}
    assert fields == {
        "metadata.name",
        "spec.scope",
        "spec.versions",
        "spec.versions[1].schema.openAPIV3Schema",
    }


@pytest.mark.parametrize(
    ("approval", "refused"),
    [
        ("", "Required value: protected groups must have approval annotation"),
        ("yes", "with either a URL or a reason starting with"),
        ("unapproved, for a test", ""),
        ("https://example.com/pull/1", ""),
    ],
)
def test_groups_of_kubernetes_need_its_approval(cluster, approval, refused):
    protected = definition("gadgets", "Gadget")
    protected["metadata"] = {
        "name": "gadgets.tests.k8s.io",
        "annotations": {"api-approved.kubernetes.io": approval},
    }
    protected["spec"]["group"] = "tests.k8s.io"
    path = f"{CRDS}?dryRun=All"
    answer = cluster.call("POST", path, protected, code=422 if refused else 201)
    assert refused in answer.get("message", "")


def test_objects_go_with_their_definition(cluster, namespace):
    cluster.call("POST", CRDS, definition("things", "Thing"))
    path = f"/apis/{GROUP}/v1/namespaces/{namespace}/things"
    for name, finalizers in (("free", []), ("held", ["x.io/a"])):
        body = {**widget(), "kind": "Thing"}
        body["metadata"] = {"name": name, "finalizers": finalizers}
        cluster.call("POST", path, body)
    cluster.call("DELETE", f"{CRDS}/things.{GROUP}")
    cluster.call("GET", f"{path}/free", code=404)
    held = cluster.call("GET", f"{path}/held")
    assert held["metadata"]["deletionTimestamp"]
    assert cluster.call("GET", f"{CRDS}/things.{GROUP}")["metadata"]["deletionTimestamp"]
    held["metadata"]["finalizers"] = []
    cluster.call("PUT", f"{path}/held", held)
    cluster.call("GET", f"{CRDS}/things.{GROUP}", code=404)
    # The body is a Status only while another definition keeps the group served.
    assert cluster.raw("GET", path).status_code == 404
