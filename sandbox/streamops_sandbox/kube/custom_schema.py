"""Compiling a CRD's `openAPIV3Schema` into `Schema` nodes.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from streamops_sandbox.kube import builtin_schemas
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object


def compile_root(source: Object | None) -> Schema:
    """The schema of whole custom objects; without a source everything is kept."""
    if source is None:
        node = Schema(s.OBJECT)
        node.preserve = True
    else:
        node = compile_node({"type": "object", **source})
    _add_type_and_metadata(node)
    return node


def _add_type_and_metadata(node: Schema) -> None:
    metadata = builtin_schemas.definitions().named(builtin_schemas.OBJECT_META)
    node.properties["apiVersion"] = s.plain(s.STRING)
    node.properties["kind"] = s.plain(s.STRING)
    node.properties["metadata"] = metadata


def compile_node(source: Object) -> Schema:
    """Return the schema of a part of a custom object."""
    node = Schema(_type(source))
    s.apply_merge_keywords(node, source)
    node.preserve = source.get("x-kubernetes-preserve-unknown-fields") is True
    node.embedded = source.get("x-kubernetes-embedded-resource") is True
    node.nullable = source.get("nullable") is True
    node.required = tuple(source.get("required") or ())
    if "default" in source:
        node.default, node.has_default = source["default"], True
    if isinstance(source.get("items"), dict):
        node.items = compile_node(source["items"])
    for key, value in (source.get("properties") or {}).items():
        node.properties[key] = compile_node(value)
    additional = source.get("additionalProperties")
    if isinstance(additional, dict):
        node.additional = compile_node(additional)
    elif additional is True:
        node.additional = FREE
    checks = {key: value for key, value in source.items() if key in s.CHECKS}
    if node.type == s.INT_OR_STRING:
        checks.pop("anyOf", None)  # says what the type says already
    node.checks = checks or None
    node.rules = tuple(source.get("x-kubernetes-validations") or ())
    if node.embedded:
        _add_type_and_metadata(node)
    if _is_plain(node, source):
        return s.plain(node.type)
    return node


def _type(source: Object) -> str:
    if source.get("x-kubernetes-int-or-string") is True:
        return s.INT_OR_STRING
    type_ = source.get("type")
    if type_ == "object":
        additional = source.get("additionalProperties")
        return s.MAP if additional and "properties" not in source else s.OBJECT
    return type_ or s.ANY


def _is_plain(node: Schema, source: Object) -> bool:
    """Whether a shared node can stand in: nearly all scalars have no restrictions."""
    return node.type in (s.STRING, s.INTEGER, s.NUMBER, s.BOOLEAN) and not (
        set(source) - {"type", "description"}
    )
