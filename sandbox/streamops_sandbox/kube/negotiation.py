"""Other forms of an answer: tables for people, bare metadata for collectors.

https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import orjson

from streamops_sandbox.kube import errors, listing, tables
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.watching import Render
from streamops_sandbox.objects import Object

TABLE = "Table"
METADATA = "PartialObjectMetadata"
YAML = "YAML"
_META_VERSION = "meta.k8s.io/v1"
_PLAIN = frozenset({"application/json", "*/*", "application/*"})


@lru_cache(maxsize=128)
def form(accept: str) -> str:
    """Return `Table`, `PartialObjectMetadata`, `YAML`, or "" for plain JSON; raises a 406.

    The first media type this server can produce wins.
    """
    for part in (accept or "*/*").split(","):
        media, *parameters = [item.strip() for item in part.split(";")]
        options = dict(item.partition("=")[::2] for item in parameters)
        if media == "application/yaml" and "as" not in options:
            return YAML
        if media not in _PLAIN:
            continue
        wanted = options.get("as", "").removesuffix("List")
        known = options.get("v") == "v1" and options.get("g", "meta.k8s.io") == "meta.k8s.io"
        if not wanted or (known and wanted in (TABLE, METADATA)):
            return wanted
    raise errors.not_acceptable(
        ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]
    )


def accepts_aggregated_discovery(accept: str) -> bool:
    """Whether discovery is wanted in one document."""
    return any(
        "g=apidiscovery.k8s.io" in part and "v=v2" in [p.strip() for p in part.split(";")]
        for part in accept.split(",")
    )


def render_object(
    obj: Object, wanted: str, resource: Resource, query: Mapping[str, str], *, headers: bool = True
) -> bytes:
    """One object in another form."""
    if wanted == METADATA:
        return orjson.dumps(tables.metadata_only(obj))
    metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    include = query.get("includeObject", "")
    return orjson.dumps(tables.table([obj], metadata, resource, include, headers=headers))


def render_list(
    raws: list[bytes],
    page: listing.Page,
    wanted: str,
    resource: Resource,
    query: Mapping[str, str],
) -> bytes:
    """A list in another form."""
    objects = [orjson.loads(item) for item in raws]
    metadata, include = listing.list_metadata(page), query.get("includeObject", "")
    if wanted == TABLE:
        return orjson.dumps(tables.table(objects, metadata, resource, include, headers=True))
    head = {"kind": METADATA + "List", "apiVersion": _META_VERSION, "metadata": metadata}
    return orjson.dumps({**head, "items": [tables.metadata_only(obj) for obj in objects]})


def watch_renderer(wanted: str, resource: Resource, query: Mapping[str, str]) -> Render:
    """Renders one object after the other; only the first table has column headers."""
    first = True

    def render(raw: bytes) -> bytes:
        nonlocal first
        headers, first = first, False
        return render_object(orjson.loads(raw), wanted, resource, query, headers=headers)

    return render
