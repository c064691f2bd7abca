"""One compact form for the schemas of built-in kinds and of custom resources.

Everything that needs to know an object's shape walks these nodes: decoding, validation,
defaulting, pruning, strategic merge and server-side apply.
"""

from __future__ import annotations

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

#: Keywords that only restrict values; kept as the CRD states them, for validation.
CHECKS = frozenset(
    {
        "enum", "pattern", "format", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
        "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems",
        "minProperties", "maxProperties", "anyOf", "oneOf", "allOf", "not",
    }
)  # fmt: skip


class Schema:
    """A node: what is allowed at one place of an object, and how it merges.

    `list_type` and `map_type` are structured-merge-diff's (`map`, `set`, `atomic`, `granular`);
    `merge_key` and `strategies` are strategic merge patch's.
    """

    __slots__ = (
        "additional", "checks", "default", "embedded", "has_default", "items", "list_keys",
        "list_type", "map_type", "merge_key", "name", "nullable", "preserve", "properties",
        "required", "rules", "strategies", "type",
    )  # fmt: skip

    def __init__(self, type_: str, *, name: str = "") -> None:
        self.type = type_
        self.name = name
        self.properties: dict[str, Schema] = {}
        self.additional: Schema | None = None
        self.items: Schema | None = None
        self.required: tuple[str, ...] = ()
        self.list_type = ""
        self.list_keys: tuple[str, ...] = ()
        self.map_type = ""
        self.merge_key = ""
        self.strategies: tuple[str, ...] = ()
        self.default: Any = None
        self.has_default = False
        self.nullable = False
        self.preserve = False
        self.embedded = False
        self.checks: Object | None = None
        #: `x-kubernetes-validations`.
        self.rules: tuple[Object, ...] = ()

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


def apply_merge_keywords(node: Schema, source: Object) -> None:
    """Take over `x-kubernetes-*` keywords that say how a value merges."""
    node.list_type = source.get("x-kubernetes-list-type", node.list_type)
    node.list_keys = tuple(source.get("x-kubernetes-list-map-keys", node.list_keys))
    node.map_type = source.get("x-kubernetes-map-type", node.map_type)
    node.merge_key = source.get("x-kubernetes-patch-merge-key", node.merge_key)
    strategy = source.get("x-kubernetes-patch-strategy")
    if strategy:
        node.strategies = tuple(strategy.split(","))
