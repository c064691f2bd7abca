"""Tables, as `kubectl get` prints them.

Built-in kinds have the columns of k8s.io/kubernetes/pkg/printers/internalversion; custom ones
those of their definition.
"""

from __future__ import annotations

from typing import Any

from streamops_sandbox.kube import clock, jsonpath
from streamops_sandbox.kube.resources import Column, Resource
from streamops_sandbox.kube.table_columns import BUILTIN
from streamops_sandbox.kube.table_parts import BuiltinColumn, Columns
from streamops_sandbox.kube.table_rare import SCALE

Json = dict[str, Any]

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}
_NAME_COLUMN = BuiltinColumn("Name", lambda obj: obj["metadata"].get("name", ""))
_AGE = Column("Age", "date", ".metadata.creationTimestamp")


def table(
    objects: list[Json], metadata: Json, resource: Resource, include: str, *, headers: bool
) -> Json:
    """`Table` of some objects; `include` is None, Metadata (the default) or Object."""
    columns = None if resource.custom else BUILTIN.get(resource.collection)
    if objects and objects[0].get("kind") == "Scale":
        columns = SCALE
    if columns is not None:
        columns = _with_name(columns)
        definitions = [
            {**_NAME, "priority": c.priority}
            if c.name == "Name"
            else _definition(c.name, c.type, c.priority)
            for c in columns
        ]
    else:
        custom = resource.columns or (_AGE,)
        definitions = [
            _NAME,
            *(_definition(c.name, c.type, c.priority, c.description, c.format) for c in custom),
        ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions if headers else [],
        "rows": [
            {"cells": _cells(obj, resource, columns), "object": _attached(obj, include)}
            for obj in objects
        ],
    }


def _with_name(columns: Columns) -> Columns:
    """The name comes first, unless a kind has it elsewhere."""
    has_name = any(column.name == "Name" for column in columns)
    return columns if has_name else (_NAME_COLUMN, *columns)


def _definition(
    name: str, type_: str, priority: int, description: str = "", format_: str = ""
) -> Json:
    return {
        "name": name,
        "type": type_,
        "format": format_,
        "description": description,
        "priority": priority,
    }


def _cells(obj: Json, resource: Resource, columns: Columns | None) -> list[Any]:
    if columns is not None:
        return [column.read(obj) for column in columns]
    return [
        _NAME_COLUMN.read(obj),
        *(_custom_cell(obj, column) for column in resource.columns or (_AGE,)),
    ]


def _custom_cell(obj: Json, column: Column) -> Any:
    values = jsonpath.find(obj, column.json_path)
    if not values or values[0] is None:
        return "<unknown>" if column.type == "date" else None
    value = values[0]
    if column.type == "date":
        return clock.age(value)
    if column.type == "boolean":
        return value if isinstance(value, bool) else None
    if column.type in ("integer", "number"):
        return value if isinstance(value, (int, float)) else None
    if len(values) > 1:
        return " ".join(str(item) for item in values)
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _attached(obj: Json, include: str) -> Json | None:
    if include == "None":
        return None
    if include == "Object":
        return obj
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj["metadata"],
    }
