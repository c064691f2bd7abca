"""Reading Kubernetes' protobuf bodies, which typed Go clients send for built-in kinds.

`kubectl create`, `auth can-i` and other commands with a typed client write protobuf and take
JSON for an answer, so only reading is needed. Types come from the schemas; field numbers, which
the schemas lack, from `protobuf_fields.json`: message → its JSON field names in the order of
their numbers, `N=name` where the numbers jump, `+message` for an embedded struct. Contract: the
`.proto` files of k8s.io/api, and k8s.io/apimachinery/pkg/runtime/serializer/protobuf.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from streamops_sandbox.kube import builtin_schemas, errors
from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_PREFIX = "io.k8s."
#: Optional (pointer) scalars, for which zero is a value; Go writes other scalars always.
_POINTERS = frozenset(
    {
        "allowPrivilegeEscalation", "allocateLoadBalancerNodePorts", "automountServiceAccountToken",
        "backoffLimit", "blockOwnerDeletion", "completions", "controller", "enableServiceLinks",
        "globalDefault", "gracePeriodSeconds", "immutable", "minReplicas", "optional",
        "orphanDependents", "parallelism", "privileged", "publishNotReadyAddresses",
        "readOnlyRootFilesystem", "replicas", "runAsNonRoot", "runAsUser", "suspend",
        "terminationGracePeriodSeconds", "ttlSecondsAfterFinished",
    }
)  # fmt: skip


class ProtobufError(ValueError):
    """The bytes are no message of the expected type."""


def decode_object(data: bytes) -> Object:
    """An object from its envelope (`runtime.Unknown`); raises a 400 or 415."""
    if not data.startswith(_MAGIC):
        raise errors.bad_request("provided data does not appear to be a protobuf message")
    try:
        api_version, kind, raw = _envelope(data[len(_MAGIC) :])
        group, _, version = api_version.rpartition("/")
        name = _definition(group, version, kind)
        if name is None:
            raise errors.unsupported_media_type(["application/json", "application/yaml"])
        schema = builtin_schemas.named(name)
        return {"apiVersion": api_version, "kind": kind, **_message(raw, schema, name)}
    except (ProtobufError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise errors.bad_request(f"unable to decode protobuf: {error}") from error


def _definition(group: str, version: str, kind: str) -> str | None:
    if kind == "DeleteOptions":
        return "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"
    try:
        name = builtin_schemas.definition_name((group, version, kind))
    except KeyError:
        return None
    return name if name.removeprefix(_PREFIX) in _numbers() else None


@lru_cache(maxsize=1)
def _numbers() -> dict[str, dict[int, str]]:
    """Message → field number → name."""
    text = (Path(__file__).parent / "protobuf_fields.json").read_bytes()
    return {message: _numbered(line) for message, line in orjson.loads(text).items()}


def _numbered(line: str) -> dict[int, str]:
    found: dict[int, str] = {}
    number = 0
    for word in line.split():
        jump, equals, name = word.partition("=")
        number = int(jump) if equals else number + 1
        found[number] = name if equals else word
    return found


def _envelope(data: bytes) -> tuple[str, str, bytes]:
    fields = dict(_fields(data))
    type_meta = dict(_fields(fields.get(1, b"")))
    return type_meta.get(1, b"").decode(), type_meta.get(2, b"").decode(), fields.get(2, b"")


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value) in the order of the wire; a value is a number or bytes."""
    from google.protobuf.empty_pb2 import Empty  # noqa: PLC0415 - only typed Go clients need it
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - as above
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415 - as above

    try:
        fields = UnknownFieldSet(Empty.FromString(data))
    except DecodeError as error:
        raise ProtobufError(str(error)) from error
    for field in fields:
        yield field.field_number, field.data


def _message(data: bytes, schema: Schema, name: str) -> Object:
    """A message as the JSON object it stands for."""
    numbers = _numbers().get(name.removeprefix(_PREFIX))
    if numbers is None:
        raise ProtobufError(f"{name} is not known")
    result: Object = {}
    for number, value in _fields(data):
        key = numbers.get(number)
        if key is None:
            raise ProtobufError(f"{name} has no field {number}")
        if key.startswith("+"):
            result.update(_message(value, schema, _PREFIX + key[1:]))
            continue
        child = schema.properties.get(key)
        if child is None:
            raise ProtobufError(f"{name} has no field {key}")
        _put(result, key, value, child)
    return result


def _put(result: Object, key: str, value: Any, schema: Schema) -> None:
    if schema.type == s.ARRAY:
        result.setdefault(key, []).append(_value(value, schema.element()))
    elif schema.type == s.MAP and schema.additional is not None:
        entry = dict(_fields(value))
        name = entry.get(1, b"").decode()
        result.setdefault(key, {})[name] = _value(entry.get(2, b""), schema.additional)
    else:
        decoded = _value(value, schema)
        if decoded or decoded == {} or (decoded is not None and key in _POINTERS):
            result[key] = decoded


def _value(value: Any, schema: Schema) -> Any:
    """One value; None stands for one that is not set."""
    type_ = schema.type
    if isinstance(value, int):
        return bool(value) if type_ == s.BOOLEAN else _signed(value)
    if type_ == s.STRING:
        return _text(value, schema)
    if type_ == s.INT_OR_STRING:
        return _int_or_string(value)
    if type_ == s.QUANTITY:
        return "".join(text.decode() for _, text in _fields(value)) or "0"
    if type_ == s.ANY:
        raw = dict(_fields(value)).get(1)
        return orjson.loads(raw) if raw else None
    if type_ == s.ARRAY:  # a named list type, such as ExtraValue
        return [_value(item, schema.element()) for _, item in _fields(value)]
    if type_ == s.OBJECT and schema.name:
        return _message(value, schema, schema.name)
    raise ProtobufError(f"a {type_} cannot be read")


def _text(value: bytes, schema: Schema) -> str | None:
    form = (schema.checks or {}).get("format")
    if form == "byte":
        return base64.b64encode(value).decode()
    if form == "date-time":
        numbers = dict(_fields(value))
        if not numbers.get(1):
            return None
        moment = datetime.fromtimestamp(numbers[1], UTC)
        text = moment.strftime("%Y-%m-%dT%H:%M:%S")
        return f"{text}.{numbers[2] // 1000:06d}Z" if numbers.get(2) else f"{text}Z"
    return value.decode()


def _int_or_string(value: bytes) -> int | str:
    fields = dict(_fields(value))
    return fields.get(3, b"").decode() if fields.get(1) == 1 else _signed(fields.get(2, 0))


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number
