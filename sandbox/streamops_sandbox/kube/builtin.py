"""Kubernetes' own resource types, read from `builtin_types.yaml`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from streamops_sandbox.kube import builtin_schemas, codec
from streamops_sandbox.kube.kinds import versions
from streamops_sandbox.kube.resources import ALL_VERBS, Convert, Resource

#: Versions that are not kept: collection, kept version, and the conversions; autoscaling/v1 is only read.
_SHARED: dict[str, tuple[str, str, Convert, Convert | None]] = {
    "autoscaling/v1": (
        "horizontalpodautoscalers.autoscaling", "autoscaling/v2", versions.autoscaler_from_storage, None,
    ),
    "events.k8s.io/v1": (
        "events", "v1", versions.event_from_storage, versions.event_to_storage,
    ),
}  # fmt: skip


def builtin_resources() -> Iterator[Resource]:
    """Yield every built-in type."""
    types: dict[str, list[dict[str, Any]]] = codec.data_file("builtin_types.yaml")
    for api_version, rows in types.items():
        group, _, version = api_version.rpartition("/")
        for row in rows:
            gvk = (group, version, row["kind"])
            resource = Resource(
                group=group,
                version=version,
                kind=row["kind"],
                plural=row["plural"],
                namespaced=not row.get("cluster"),
                load_schema=partial(builtin_schemas.of_kind, gvk),
                short_names=tuple(row.get("short") or ()),
                categories=tuple(row.get("categories") or ()),
                verbs=tuple(row.get("verbs") or ALL_VERBS),
                subresources=tuple(row.get("sub") or ()),
                selectable_fields=tuple(row.get("selectable") or ()),
                deprecation=row.get("deprecation", ""),
                unmodelled=row.get("unmodelled", False),
                definition=builtin_schemas.definition_name(gvk),
            )
            shared = _SHARED.get(api_version)
            if shared is not None:
                resource.shared_collection, resource.storage_version = shared[:2]
                resource.from_storage, resource.to_storage = shared[2:]
            yield resource
