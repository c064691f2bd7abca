"""Compiling a CRD's `openAPIV3Schema` into `Schema` nodes.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from streamops_sandbox.kube import builtin_schemas
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object


def compile_root(source: Object | None) -> Schema:
    """The schema of whole custom objects; without a source everything is kept."""
    everything = {"x-kubernetes-preserve-unknown-fields": True}
    node = compile_node({"type": "object", **(everything if source is None else source)})
    s.add_type_and_metadata(node, builtin_schemas.definitions().named)
    return node


def compile_node(source: Object) -> Schema:
    """Return the schema of a part of a custom object."""
    return s.compiled(source, builtin_schemas.definitions().named)
