"""What exists in a new cluster: namespaces, the API's own Service, priority classes, RBAC policy."""

from __future__ import annotations

import uuid
from pathlib import Path

import yaml

from streamops_sandbox import timestamps
from streamops_sandbox.kube import builtin_schemas, managed
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.kinds.rbac import aggregate
from streamops_sandbox.objects import Object


def fill(api: Api, *, address: str, port: int, service_ip: str) -> None:
    """Put the initial objects into an empty storage."""
    text = (Path(__file__).parent / "bootstrap.yaml").read_text()
    for name, value in (("SERVICE_IP", service_ip), ("ADDRESS", address), ("PORT", str(port))):
        text = text.replace(f" {name}", f" {value}").replace(f"[{name}", f"[{value}")
    for collection, objects in yaml.safe_load(text).items():
        for obj in objects:
            _put(api, collection, obj)
    aggregate(api)


def _put(api: Api, collection: str, obj: Object) -> None:
    """Store an object, owned by the API server."""
    obj["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamps.now()}
    group, _, version = obj["apiVersion"].rpartition("/")
    schema = builtin_schemas.of_kind((group, version, obj["kind"]))
    owner = managed.Manager("kube-apiserver", managed.UPDATE, obj["apiVersion"])
    api.store.put(collection, managed.track_update(None, obj, owner, schema))
