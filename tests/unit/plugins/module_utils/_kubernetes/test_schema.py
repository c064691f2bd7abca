"""Checking objects that the server cannot be asked about yet."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.kube import custom, definition

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import Client
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.schema import (
    Schemas,
    crd_problems,
    violations,
)

MAP_OF_TEXT = {"type": "object", "additionalProperties": {"type": "string"}}
EMBEDDED = {
    "type": "object",
    "properties": {"spec": {}},
    "x-kubernetes-embedded-resource": True,
}
KEEP = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.mark.parametrize(
    ("value", "schema", "problems"),
    [
        (1, {"type": "integer"}, []),
        (1.0, {"type": "integer"}, []),
        (True, {"type": "integer"}, ["f: must be integer, not boolean"]),
        ("1", {"type": "integer"}, ["f: must be integer, not string"]),
        (1, {"type": "string"}, ["f: must be string, not integer"]),
        (None, {"type": "string"}, []),
        ("a", {"type": "string", "enum": ["b", "c"]}, ["f: must be one of b, c, not 'a'"]),
        ("a", {"type": "string", "pattern": "^b"}, ["f: 'a' does not match ^b"]),
        ("a", {"type": "string", "pattern": "(?P<broken"}, []),
        (6, {"type": "integer", "maximum": 5}, ["f: is more than maximum 5"]),
        ([], {"type": "array", "minItems": 1}, ["f: is less than minItems 1"]),
        ("50%", {"x-kubernetes-int-or-string": True}, []),
        ([], {"x-kubernetes-int-or-string": True}, ["f: must be a number or a text, not array"]),
        (
            {},
            {"oneOf": [{"type": "string"}, {"type": "number"}]},
            ["f: must be string or number, not object"],
        ),
        ({"a": 1}, {"type": "object", "properties": {"b": {}}}, ["f.a: no such field"]),
        ({"a": 1}, KEEP, []),
        ({"a": 1}, MAP_OF_TEXT, ["f.a: must be string, not integer"]),
        ({}, {"type": "object", "required": ["a"], "properties": {"a": {}}}, ["f.a: is required"]),
        (
            [{"a": 1}, {"a": "x"}],
            {
                "type": "array",
                "items": {"type": "object", "properties": {"a": {"type": "integer"}}},
            },
            ["f[1].a: must be integer, not string"],
        ),
        ({"apiVersion": "v1", "kind": "X", "metadata": {}}, EMBEDDED, []),
    ],
)
def test_violations(value: Any, schema: dict[str, Any], problems: list[str]) -> None:
    assert list(violations(value, schema, {}, "f")) == problems


def test_references_are_followed() -> None:
    schemas = {
        "A": {"type": "object", "properties": {"b": {"allOf": [{"$ref": "#/x/B"}], "default": {}}}},
        "B": {"type": "object", "properties": {"c": {"type": "integer"}}},
    }
    wrong = {"b": {"c": "x", "d": 1}}
    assert list(violations(wrong, {"$ref": "#/x/A"}, schemas)) == [
        "b.c: must be integer, not string",
        "b.d: no such field",
    ]


def test_a_custom_resource_by_the_definition_in_its_bundle() -> None:
    crd = definition("Widget", size={"type": "integer"})
    assert crd_problems(custom("Widget", "w", size=3), crd) == []
    assert crd_problems(custom("Widget", "w", size="3"), crd) == [
        "spec.size: must be integer, not string"
    ]
    other = {**custom("Widget", "w"), "apiVersion": "example.com/v2"}
    assert crd_problems(other, crd) == [
        "apiVersion: the CustomResourceDefinition has no version 'v2'"
    ]


def test_objects_checked_side_by_side_fetch_a_document_once() -> None:
    asked: list[str] = []

    def request(_method: str, path: str, **_options: Any) -> Any:
        asked.append(path)
        time.sleep(0.05)
        return {}

    schemas = Schemas(cast(Client, SimpleNamespace(transport=SimpleNamespace(request=request))))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(schemas.problems, [{"apiVersion": "apps/v1", "kind": "Deployment"}] * 4))
    assert asked == ["/openapi/v3", "/openapi/v3/apis/apps/v1"]
