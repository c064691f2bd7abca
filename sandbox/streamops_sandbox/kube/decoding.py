"""Bringing a request's object into the shape of its type, as Go's decoder does.

Unknown fields and nulls of built-in kinds are dropped, wrong types refused, times and amounts put into their
canonical form. Unknown and duplicate fields are reported by the request's `fieldValidation`: Strict refuses, Warn
(the default) warns.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC
from typing import Any

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors, quantity
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object

_SCALARS = {s.STRING: "string", s.NUMBER: "float64", s.BOOLEAN: "bool", s.INTEGER: "int32"}
_JSON_TYPES = {str: "string", bool: "bool", dict: "object", list: "array"}
#: Fields that Go leaves out when they are zero; pointers, for which zero is a value, are not among them.
_OMITTED_ZEROS = frozenset(
    {
        "active", "availableReplicas", "failed", "fullyLabeledReplicas", "hostIPC", "hostNetwork",
        "hostPID", "hostPort",
        "initialDelaySeconds", "minReadySeconds", "nodePort", "numberAvailable", "numberUnavailable",
        "observedGeneration", "paused", "publishNotReadyAddresses", "readOnly", "readyReplicas",
        "replicas", "stdin", "stdinOnce", "succeeded", "tty", "unavailableReplicas", "unschedulable",
        "updatedNumberScheduled", "updatedReplicas",
    }
)  # fmt: skip
#: Texts for which empty is a value.
_KEPT_EMPTY = frozenset(
    {"appProtocol", "fieldPath", "hostname", "localhostProfile", "name", "namespace", "nodeName",
     "service", "storageClassName", "timeZone", "type", "volumeName"}
)  # fmt: skip


class DecodeError(ValueError):
    """A value of the wrong type; the message is that of Go's decoder."""


class Decoder:
    """Walks one object; collects the paths of unknown fields.

    `keep_empty` keeps what Go leaves out because it is empty: an applied configuration owns that too.
    """

    def __init__(self, *, keep_empty: bool = False) -> None:
        self.unknown: list[str] = []
        self._keep_empty = keep_empty

    def conform(self, value: Any, node: Schema, path: str = "", owner: str = "") -> Any:
        """Return the value in its type's shape; raises DecodeError. `path` is its place, for messages."""
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

    def _object(self, value: Any, node: Schema, path: str, owner: str) -> Object:
        if not isinstance(value, dict):
            raise _mismatch(value, node, path, owner)
        result: Object = {}
        properties = node.properties
        name = node.name.rpartition(".")[2] or owner
        for key, item in value.items():
            child = properties.get(key)
            if child is None:
                if node.preserve:
                    result[key] = item
                else:
                    self.unknown.append(f"{path}.{key}" if path else key)
            elif item is not None or child.type == s.ANY:
                shaped = self.conform(item, child, f"{path}.{key}" if path else key, name)
                if shaped or self._keep_empty or not _omitted(key, shaped, node, child):
                    result[key] = shaped
        return result

    def _map(self, value: Any, node: Schema, path: str, owner: str) -> Object:
        if not isinstance(value, dict):
            raise _mismatch(value, node, path, owner)
        child = node.additional or FREE
        # A null value is the zero value of the map's type; only strings occur with null.
        return {
            key: "" if item is None else self.conform(item, child, f"{path}.{key}", owner)
            for key, item in value.items()
        }

    def _array(self, value: Any, node: Schema, path: str, owner: str) -> list[Any]:
        if not isinstance(value, list):
            raise _mismatch(value, node, path, owner)
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
            if kind is not str:
                raise _mismatch(value, node, path, owner)
            return _text(value, node) if node.checks else value
        if type_ == s.INTEGER:
            bits = 63 if (node.checks or {}).get("format") == "int64" else 31
            good = kind is int and -(2**bits) <= value < 2**bits
        elif type_ == s.BOOLEAN:
            good = kind is bool
        elif type_ == s.NUMBER:
            good = kind is int or kind is float
        elif type_ == s.INT_OR_STRING:
            good = kind is int or kind is str
        else:
            return _quantity(value)
        if not good:
            raise _mismatch(value, node, path, owner)
        return value


def _omitted(key: str, value: Any, node: Schema, child: Schema) -> bool:
    """Whether Go leaves out a field with this empty value."""
    if key in node.required or value is None:
        return False
    if isinstance(value, (list, dict)):
        return child.type in (s.ARRAY, s.MAP) and not child.nullable
    if isinstance(value, str):
        return child.type == s.STRING and key not in _KEPT_EMPTY and bool(node.name)
    if key in _OMITTED_ZEROS:
        # `replicas` is a pointer in a specification, not in a status.
        if key == "availableReplicas":
            return not node.name.endswith("StatefulSetStatus")
        return key != "replicas" or not node.name.endswith("Spec")
    return False


def _text(value: str, node: Schema) -> str:
    form = (node.checks or {}).get("format")
    if form == "byte":
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            bad = re.search(r"[^A-Za-z0-9+/]", value)
            position = bad.start() if bad else len(value)
            raise DecodeError(f"illegal base64 data at input byte {position}") from error
    elif form == "date-time":
        return _time(value, micro=node.name.endswith("MicroTime"))
    return value


def _time(value: str, *, micro: bool) -> str:
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    try:
        if not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value):
            raise ValueError
        if micro and not re.search(r"\.\d{6}(Z|[-+])", value):
            raise ValueError
        moment = timestamps.parse(value).astimezone(UTC)
    except ValueError as error:
        text = f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
        raise DecodeError(text) from error
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def _quantity(value: Any) -> str:
    try:
        return quantity.canonical(value if isinstance(value, str) else str(value))
    except ValueError as error:
        raise DecodeError(str(error)) from error


def _mismatch(value: Any, node: Schema, path: str, owner: str) -> DecodeError:
    found = _JSON_TYPES.get(type(value), "number")
    if isinstance(value, float) or (node.type == s.INTEGER and found == "number"):
        found = f"number {value}"
    place = re.sub(r"\[\d+\]", "", path)
    if node.type not in (s.OBJECT, s.MAP, s.ARRAY) and owner in (
        "ObjectMeta",
        "ConfigMap",
        "Secret",
    ):
        # What is wrong in a map is reported with the map's own name.
        place = re.sub(r"\b(labels|annotations|data|binaryData|stringData)\..*", r"\1", place)
    return DecodeError(
        f"json: cannot unmarshal {found} into Go struct field {owner}.{place} of type {_go_type(node)}"
    )


def _go_type(node: Schema) -> str:
    if node.type == s.ARRAY:
        return f"[]{_go_type(node.element())}"
    if node.type == s.MAP:
        return f"map[string]{_go_type(node.additional or FREE)}"
    if node.type == s.OBJECT:
        *_, version, name = f".{node.name}".rsplit(".", 2)
        return f"{version}.{name}"
    if node.type == s.INTEGER and (node.checks or {}).get("format") == "int64":
        return "int64"
    return _SCALARS.get(node.type, node.type)


def report(found: list[str], prefix: str, validation: str, warnings: list[str]) -> None:
    """Refuse or warn about unknown and duplicate fields; raises a 400."""
    if not found or validation == "Ignore":
        return
    if validation == "Strict":
        raise errors.bad_request(f"{prefix}strict decoding error: {', '.join(found)}")
    for text in found:
        lines = text.removeprefix("yaml: unmarshal errors:\n").split("\n")
        warnings.extend(line.strip() for line in lines)
