"""Objects in another version than they are stored in: only what the sandbox itself can convert.

Strategy None of a definition changes the apiVersion; conversion webhooks are not modelled.
"""

from __future__ import annotations

import orjson

from streamops_sandbox.kube import custom_objects, errors
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.store import Stored
from streamops_sandbox.objects import Object


def read(stored: Stored, resource: Resource) -> Object:
    """Return a fresh copy of an object in the version asked for; raises a 501."""
    obj = stored.load()
    if stored.api_version == resource.api_version:
        return obj
    convert = resource.from_storage
    shown = convert(obj) if convert else _renamed(obj, resource.api_version, resource)
    return {"apiVersion": shown["apiVersion"], "kind": shown["kind"], **shown}


def raw(stored: Stored, resource: Resource) -> bytes:
    """Return an object's JSON in the version asked for; raises a 501."""
    if stored.api_version == resource.api_version:
        return stored.raw
    return orjson.dumps(read(stored, resource))


def to_storage(obj: Object, resource: Resource) -> Object:
    """Return an object in the version it is kept in; raises a 501."""
    if obj["apiVersion"] == resource.storage_version:
        return obj
    if resource.to_storage is not None:
        return resource.to_storage(obj)
    kept = _renamed(obj, resource.storage_version, resource)
    if resource.storage_schema is not None:
        shaped: Object = custom_objects.conform(kept, resource.storage_schema(), "", [])
        return shaped
    return kept


def _renamed(obj: Object, version: str, resource: Resource) -> Object:
    if (resource.conversion or {}).get("strategy") == "Webhook":
        raise errors.not_implemented(f"conversion webhooks, which {resource.plural} have")
    return {**obj, "apiVersion": version}
