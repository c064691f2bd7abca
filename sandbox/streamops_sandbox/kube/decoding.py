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
from streamops_sandbox.kube import codec, quantity
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import FREE, Schema
from streamops_sandbox.objects import Object

_SCALARS = {s.STRING: "string", s.NUMBER: "float64", s.BOOLEAN: "bool", s.INTEGER: "int32"}
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    s.OBJECT: (dict,), s.MAP: (dict,), s.ARRAY: (list,), s.STRING: (str,), s.INTEGER: (int,),
    s.BOOLEAN: (bool,), s.NUMBER: (int, float), s.INT_OR_STRING: (int, str),
}  # fmt: skip
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
        if type_ in _PYTHON_TYPES and type(value) not in _PYTHON_TYPES[type_]:
            raise _mismatch(value, node, path, owner)
        if type_ == s.OBJECT:
            return self._object(value, node, path, node.name.rpartition(".")[2] or owner)
        if type_ == s.MAP:
            child = node.additional or FREE
            # A null value is the zero value of the map's type; only strings occur with null.
            return {
                key: "" if item is None else self.conform(item, child, f"{path}.{key}", owner)
                for key, item in value.items()
            }
        if type_ == s.ARRAY:
            child = node.element()
            return [
                self.conform(item, child, f"{path}[{index}]", owner)
                for index, item in enumerate(value)
                if item is not None
            ]
        if type_ == s.INTEGER:
            bits = 63 if (node.checks or {}).get("format") == "int64" else 31
            if not -(2**bits) <= value < 2**bits:
                raise _mismatch(value, node, path, owner)
        if type_ == s.QUANTITY:
            return _quantity(value)
        return _text(value, node) if type_ == s.STRING and node.checks else value

    def _object(self, value: Object, node: Schema, path: str, owner: str) -> Object:
        result: Object = {}
        for key, item in value.items():
            child, below = node.properties.get(key), f"{path}.{key}" if path else key
            if child is None:
                if node.preserve:
                    result[key] = item
                else:
                    self.unknown.append(below)
            elif item is not None or child.type == s.ANY:
                shaped = self.conform(item, child, below, owner)
                if shaped or self._keep_empty or not _omitted(key, shaped, node, child):
                    result[key] = shaped
        return result


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
    found = codec.json_type(value)
    if isinstance(value, float) or (node.type == s.INTEGER and found == "number"):
        found = f"number {value}"
    place = re.sub(r"\[\d+\]", "", path)
    is_scalar = node.type not in (s.OBJECT, s.MAP, s.ARRAY)
    if is_scalar and owner in ("ObjectMeta", "ConfigMap", "Secret"):
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
