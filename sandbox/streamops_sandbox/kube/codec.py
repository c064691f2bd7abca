"""Bytes to values and back: JSON, and YAML where Kubernetes takes it."""

from __future__ import annotations

from typing import Any

import orjson
import yaml

from streamops_sandbox.kube import errors, protobuf

JSON = "application/json"
YAML = "application/yaml"
APPLY_YAML = "application/apply-patch+yaml"
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def loads(data: bytes) -> Any:
    """Parse JSON; raises a 400 as the API server words it."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def load_yaml(data: bytes) -> Any:
    """Parse JSON or YAML; raises a 400."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        return yaml.load(data, Loader=_YAML_LOADER)  # noqa: S506 - a safe loader, in C if there
    except yaml.YAMLError as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from error


def media_type(header: str) -> str:
    """The media type without its parameters, in lower case."""
    return header.split(";", 1)[0].strip().lower()


def decode_object(data: bytes, content_type: str) -> dict[str, Any]:
    """A request body that holds one object."""
    kind = media_type(content_type) or JSON
    if kind == JSON:
        value = loads(data)
    elif kind == protobuf.MEDIA_TYPE:
        value = protobuf.decode_object(data)
    elif kind in (YAML, "application/x-yaml", APPLY_YAML):
        value = load_yaml(data)
    else:
        raise errors.unsupported_media_type([JSON, YAML, protobuf.MEDIA_TYPE])
    if not isinstance(value, dict):
        raise errors.bad_request("the object provided is unrecognized (must be of type object)")
    return value
