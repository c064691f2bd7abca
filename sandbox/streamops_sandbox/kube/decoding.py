"""Bringing a request's object into the shape of its type, as Go's decoder does.

Unknown fields and nulls of built-in kinds are dropped, and wrong types refused. Unknown fields
are reported by the request's `fieldValidation`: Strict refuses, Warn (the default) warns.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from streamops_sandbox.kube import errors
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import FREE, Schema

Json = dict[str, Any]

_GO_TYPES = {
    s.STRING: "string",
    s.INTEGER: "int32",
    s.NUMBER: "float64",
    s.BOOLEAN: "bool",
    s.ARRAY: "[]",
    s.MAP: "map[string]",
    s.OBJECT: "struct",
}


class Decoder:
    """Walks one object; collects the paths of unknown fields."""

    def __init__(self, kind: str, api_version: str) -> None:
        self._kind = kind
        self._version = api_version.rpartition("/")[2]
        self.unknown: list[str] = []

    def conform(self, value: Any, node: Schema, path: str = "", owner: str = "") -> Any:
        """The value in its type's shape; `path` is where it stands, for messages."""
        type_ = node.type
        if type_ == s.ANY:
            return value
        if type_ == s.OBJECT:
            return self._object(value, node, path, owner)
        if type_ == s.MAP:
            return self._map(value, node, path, owner)
        if type_ == s.ARRAY:
            return self._array(value, node, path, owner)
        return self._scalar(value, node, path, owner)

    def _object(self, value: Any, node: Schema, path: str, owner: str) -> Json:
        if not isinstance(value, dict):
            raise self._mismatch(value, node, path, owner)
        result: Json = {}
        properties = node.properties
        for key, item in value.items():
            child = properties.get(key)
            if child is None:
                if node.preserve:
                    result[key] = item
                else:
                    self.unknown.append(f"{path}.{key}" if path else key)
            elif item is not None or child.type == s.ANY:
                result[key] = self.conform(
                    item,
                    child,
                    f"{path}.{key}" if path else key,
                    node.name.rpartition(".")[2] or owner,
                )
        return result

    def _map(self, value: Any, node: Schema, path: str, owner: str) -> Json:
        if not isinstance(value, dict):
            raise self._mismatch(value, node, path, owner)
        child = node.additional or FREE
        # A null value is the zero value of the map's type; only strings occur with null.
        return {
            key: "" if item is None else self.conform(item, child, f"{path}.{key}", owner)
            for key, item in value.items()
        }

    def _array(self, value: Any, node: Schema, path: str, owner: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._mismatch(value, node, path, owner)
        child = node.element()
        return [
            self.conform(item, child, f"{path}[{index}]", owner)
            for index, item in enumerate(value)
            if item is not None
        ]

    def _scalar(self, value: Any, node: Schema, path: str, owner: str) -> Any:
        type_ = node.type
        kind = type(value)
        if type_ == s.STRING:
            good = kind is str
        elif type_ == s.INTEGER:
            good = kind is int or (kind is float and value.is_integer())
            if good:
                value = int(value)
        elif type_ == s.BOOLEAN:
            good = kind is bool
        elif type_ == s.NUMBER:
            good = kind is int or kind is float
        elif type_ == s.INT_OR_STRING:
            good = kind is int or kind is str
        else:  # a quantity
            good = kind is str or kind is int or kind is float
            value = value if kind is str else str(value)
        if not good:
            raise self._mismatch(value, node, path, owner)
        if node.checks and node.checks.get("format") == "byte":
            self._check_base64(value)
        return value

    def _check_base64(self, value: str) -> None:
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise errors.bad_request(
                f'{self._kind} in version "{self._version}" cannot be handled as a '
                f"{self._kind}: illegal base64 data at input byte 0"
            ) from error

    def _mismatch(self, value: Any, node: Schema, path: str, owner: str) -> errors.StatusError:
        found = {str: "string", bool: "bool", dict: "object", list: "array"}.get(
            type(value), "number"
        )
        target = _GO_TYPES.get(node.type, node.type)
        return errors.bad_request(
            f'{self._kind} in version "{self._version}" cannot be handled as a {self._kind}: '
            f"json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {target}"
        )


def report_unknown(unknown: list[str], validation: str, warnings: list[str]) -> None:
    """Refuse or warn about unknown fields."""
    if not unknown or validation == "Ignore":
        return
    texts = [f'unknown field "{path}"' for path in unknown]
    if validation == "Strict":
        raise errors.bad_request("strict decoding error: " + ", ".join(texts))
    warnings.extend(texts)
