"""One compact form for the schemas of built-in kinds and of custom resources.

Everything that needs to know an object's shape walks these nodes: decoding, validation,
defaulting, pruning, strategic merge and server-side apply.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from streamops_sandbox.objects import Object

OBJECT: Final = "object"  # fields with names; unknown ones are dropped
MAP: Final = "map"  # keys chosen by the user
ARRAY: Final = "array"
STRING: Final = "string"
INTEGER: Final = "integer"
NUMBER: Final = "number"
BOOLEAN: Final = "boolean"
INT_OR_STRING: Final = "int-or-string"
QUANTITY: Final = "quantity"
ANY: Final = "any"  # free-form; kept as it is

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
#: Keywords that only restrict values; kept as the CRD states them, for validation.
_CHECKS = frozenset(
    {
        "enum", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
        "minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "not",
    }
)  # fmt: skip


#: Returns a definition's schema by its name; raises KeyError.
Named = Callable[[str], "Schema"]


@dataclass(slots=True, eq=False)
class Schema:
    """A node: what is allowed at one place of an object, and how it merges.

    `list_type` and `map_type` are structured-merge-diff's (`map`, `set`, `atomic`, `granular`);
    `merge_key` and `strategies` are strategic merge patch's.
    """

    type: str
    name: str = ""
    properties: dict[str, Schema] = field(default_factory=dict)
    additional: Schema | None = None
    items: Schema | None = None
    required: tuple[str, ...] = ()
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    merge_key: str = ""
    strategies: tuple[str, ...] = ()
    default: Any = None
    has_default: bool = False
    nullable: bool = False
    preserve: bool = False
    checks: Object | None = None
    #: `x-kubernetes-validations`.
    rules: tuple[Object, ...] = ()

    def child(self, key: str) -> Schema | None:
        """The schema of a field or map value; None where the key is unknown."""
        found = self.properties.get(key)
        if found is not None:
            return found
        if self.additional is not None:
            return self.additional
        return FREE if self.preserve or self.type == ANY else None

    def element(self) -> Schema:
        """The schema of a list's items."""
        return self.items if self.items is not None else FREE

    @property
    def atomic(self) -> bool:
        """Whether the value is owned and replaced as a whole."""
        if self.type == ARRAY:
            return self.list_type not in ("map", "set")
        if self.type in (OBJECT, MAP):
            return self.map_type == "atomic"
        return self.type != ANY


FREE: Final = Schema(ANY)
_PLAIN = {type_: Schema(type_) for type_ in (STRING, INTEGER, NUMBER, BOOLEAN)}


def plain(type_: str) -> Schema:
    """The shared node of a scalar without restrictions."""
    return _PLAIN[type_]


def compiled(source: Object, named: Named) -> Schema:
    """Return the node of a part of a JSON Schema; `named` finds the definitions it refers to."""
    type_ = _type(source)
    if type_ in _PLAIN and not source.keys() - {"type", "description"}:
        return _PLAIN[type_]  # nearly all scalars have no restrictions
    if "$ref" not in source:
        node = Schema(type_)
        fill(node, source, named)
        return node
    target = named(source["$ref"].rpartition("/")[2])
    if len(source) == 1:
        return target
    node = replace(target)
    _apply_merge_keywords(node, source)
    return node


def fill(node: Schema, source: Object, named: Named) -> None:
    """Take over what a JSON Schema says of a node, and of all below it."""
    node.type = _type(source)
    _apply_merge_keywords(node, source)
    node.preserve = source.get("x-kubernetes-preserve-unknown-fields") is True
    node.nullable = source.get("nullable") is True
    node.required = tuple(source.get("required") or ())
    if "default" in source:
        node.default, node.has_default = source["default"], True
    if isinstance(source.get("items"), dict):
        node.items = compiled(source["items"], named)
    for key, value in (source.get("properties") or {}).items():
        node.properties[key] = compiled(value, named)
    additional = source.get("additionalProperties")
    if isinstance(additional, dict):
        node.additional = compiled(additional, named)
    elif additional is True:
        node.additional = FREE
    checks = {key: value for key, value in source.items() if key in _CHECKS}
    if node.type == INT_OR_STRING:
        checks.pop("anyOf", None)  # says what the type says already
    node.checks = checks or None
    node.rules = tuple(source.get("x-kubernetes-validations") or ())
    if source.get("x-kubernetes-embedded-resource") is True:
        add_type_and_metadata(node, named)


def add_type_and_metadata(node: Schema, named: Named) -> None:
    """Add the fields that every object has."""
    fields = {"apiVersion": plain(STRING), "kind": plain(STRING), "metadata": named(OBJECT_META)}
    node.properties.update(fields)


def _type(source: Object) -> str:
    if source.get("x-kubernetes-int-or-string") is True:
        return INT_OR_STRING
    is_map = source.get("additionalProperties") not in (None, False) and "properties" not in source
    return MAP if is_map and source.get("type") == OBJECT else source.get("type") or ANY


def _apply_merge_keywords(node: Schema, source: Object) -> None:
    node.list_type = source.get("x-kubernetes-list-type", node.list_type)
    node.list_keys = tuple(source.get("x-kubernetes-list-map-keys", node.list_keys))
    node.map_type = source.get("x-kubernetes-map-type", node.map_type)
    node.merge_key = source.get("x-kubernetes-patch-merge-key", node.merge_key)
    strategy = source.get("x-kubernetes-patch-strategy")
    if strategy:
        node.strategies = tuple(strategy.split(","))
