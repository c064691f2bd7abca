"""Conversion between the versions of Eventing's kinds that have several."""

from __future__ import annotations

import copy

from streamops_sandbox.controller import Object

_EVENT_TYPE_FIELDS = {"type": "type", "source": "source", "schemadata": "schemaData"}


def convert(obj: Object, api_version: str) -> Object:
    """Return an object in another version of its group.

    PingSource's versions differ in name only; EventType v1beta3 lists attributes where the
    versions before have a field for each.
    """
    wanted = copy.deepcopy(obj)
    before, after = (v.rpartition("/")[2] for v in (obj["apiVersion"], api_version))
    wanted["apiVersion"] = api_version
    if obj["kind"] == "EventType" and isinstance(wanted.get("spec"), dict):
        if after == "v1beta3" and before != after:
            wanted["spec"] = _to_attributes(wanted["spec"])
        elif before == "v1beta3" and before != after:
            wanted["spec"] = _to_fields(wanted["spec"])
    return wanted


def _to_attributes(spec: Object) -> Object:
    attributes = [
        {"name": name, "required": True, "value": spec[field]}
        for name, field in _EVENT_TYPE_FIELDS.items()
        if spec.get(field)
    ]
    attributes += [{"name": name, "required": True} for name in ("id", "specversion")]
    kept: Object = {name: spec[name] for name in ("description", "reference") if name in spec}
    if "reference" not in kept and spec.get("broker"):
        broker = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": spec["broker"]}
        kept["reference"] = broker
    return {**kept, "attributes": attributes}


def _to_fields(spec: Object) -> Object:
    kept: Object = {name: spec[name] for name in ("description", "reference") if name in spec}
    for attribute in spec.get("attributes") or []:
        field = _EVENT_TYPE_FIELDS.get(attribute["name"])
        if field and attribute.get("value"):
            kept[field] = attribute["value"]
    return kept
