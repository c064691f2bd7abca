"""Namespaces of others: which this collection created, and what it may do to the rest.

A namespace that is created here gets an annotation, which proves it later. Earlier versions wrote none: for
theirs the record of managed fields proves it, as long as it is as old as the namespace.
"""

from __future__ import annotations

from typing import Any

from .apply import Bundle, Item
from .client import Client
from .managed_fields import record

Object = dict[str, Any]
CREATED = "streamops.knative/created"
MANAGER = "streamops.knative"
#: What `apply` does about namespaces that exist already.
APPLY, CREATE, LABEL = "apply", "create", "label"


def is_ours(namespace: Object) -> bool:
    """Return whether this collection created a namespace that exists."""
    metadata = namespace["metadata"]
    if (metadata.get("annotations") or {}).get(CREATED) == "true":
        return True
    created = metadata.get("creationTimestamp")
    first = [
        entry
        for entry in metadata.get("managedFields") or []
        if entry.get("time") == created and not entry.get("subresource")
    ]
    return bool(first) and all(
        str(entry.get("manager", "")).startswith(MANAGER) and entry.get("operation") == "Apply"
        for entry in first
    )


def claim(bundle: Bundle, mode: str) -> None:
    """Mark the namespaces that are created here, and leave those of others out of the bundle.

    With LABEL those of others stay in the bundle, so that they get its labels.
    """
    if mode == APPLY:
        return
    for item in [item for item in bundle.items if item.resource.kind == "Namespace"]:
        if item.before is None or is_ours(item.before):
            annotations = item.definition["metadata"].setdefault("annotations", {})
            annotations[CREATED] = "true"
        elif mode == CREATE:
            bundle.items.remove(item)
            present = item.before["metadata"].get("labels") or {}
            if item.definition["metadata"].get("labels", {}).keys() - present.keys():
                bundle.warnings.append(
                    f"Namespace {item.name} was not created by this collection: its labels are left"
                    " as they are"
                )


def missing(client: Client, bundle: Bundle) -> list[Item]:
    """Return Namespaces to create: those that objects of the bundle are in, and that do not exist."""
    resource = client.resource("v1", "Namespace")
    new = {item.namespace for item in bundle.items if item.namespace and not item.before}
    return [
        Item(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "annotations": {CREATED: "true"}},
            },
            "create_namespace",
            resource,
        )
        for name in sorted(new - bundle.namespaces)
        if client.get(resource, name) is None
    ]


def is_foreign(item: Item, mode: str) -> bool:
    """Return whether a namespace is not to be deleted because others created it."""
    return bool(
        mode != APPLY
        and item.resource.kind == "Namespace"
        and item.before
        and not is_ours(item.before)
    )


def release(client: Client, item: Item, manager: str) -> None:
    """Give back what a manager has set on a namespace of others."""
    if item.before and record(item.before, manager):
        bare = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": item.name}}
        item.after = client.apply(item.resource, bare, field_manager=manager)
