"""Schemas of Kubernetes' own kinds, read from the `kubernetes-validate` package.

The package holds the definitions of each minor version's OpenAPI document. They are kept here
as small JSON snippets and compiled into `Schema` nodes when a kind is first used, since most
kinds never are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import orjson

from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

GroupVersionKind = tuple[str, str, str]
#: Definitions whose published schema says less than their Go type.
_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": s.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": s.QUANTITY,
}
_JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
#: Definitions with a `protocol` that identifies an item even where the item does not state it.
_WITH_PROTOCOL = ("io.k8s.api.core.v1.ContainerPort", "io.k8s.api.core.v1.ServicePort")
_KEYWORDS = frozenset(
    {
        "$ref", "additionalProperties", "default", "format", "items", "properties", "required", "type",
        "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type",
        "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy",
    }
)  # fmt: skip
_FORMATS = ("int64", "byte", "date-time")


@lru_cache(maxsize=1)
def folder() -> Path:
    """The folder of the newest minor version the package has."""
    package = find_spec("kubernetes_validate")  # not imported: it pulls in a lot for its data
    if package is None or package.origin is None:
        raise ModuleNotFoundError("kubernetes_validate")
    root = Path(package.origin).parent / "kubernetes-json-schema"
    folders = [path for path in root.iterdir() if re.fullmatch(r"v[\d.]+-local", path.name)]
    return max(folders, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)])


def kubernetes_version() -> str:
    """The Kubernetes version whose API is served, like `v1.37.0`."""
    return folder().name.removesuffix("-local")


def read_definitions() -> dict[str, Object]:
    """The published definitions, with their descriptions; read anew at each call."""
    document = orjson.loads((folder() / "_definitions.json").read_bytes())
    definitions: dict[str, Object] = document["$defs"]
    return definitions


def _reduced(source: Object) -> Object:
    """Return what counts of a published schema; it allows null wherever a field is optional."""
    kept = {key: value for key, value in source.items() if key in _KEYWORDS}
    if isinstance(kept.get("type"), list):
        kept["type"] = next(name for name in kept["type"] if name != "null")
    if kept.get("type") == "object" and not kept.keys() & {"properties", "additionalProperties"}:
        del kept["type"]  # free-form
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    for key in kept.keys() & {"items", "additionalProperties"}:
        kept[key] = _reduced(kept[key])
    if "properties" in kept:
        kept["properties"] = {key: _reduced(value) for key, value in kept["properties"].items()}
    return kept


@lru_cache(maxsize=1)
def _published() -> tuple[dict[str, bytes], dict[GroupVersionKind, str]]:
    """Return what counts of the definitions, and their names by kind."""
    snippets: dict[str, bytes] = {}
    by_kind: dict[GroupVersionKind, str] = {}
    definitions = read_definitions()
    for name in _WITH_PROTOCOL:
        definitions[name]["properties"]["protocol"]["default"] = "TCP"
    for name, definition in definitions.items():
        snippets[name] = orjson.dumps(_reduced(definition))
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        for gvk in kinds if len(kinds) == 1 else []:
            by_kind[(gvk["group"], gvk["version"], gvk["kind"])] = name
    return snippets, by_kind


def definition_name(gvk: GroupVersionKind) -> str:
    """The definition of a kind; raises KeyError."""
    return _published()[1][gvk]


def of_kind(gvk: GroupVersionKind) -> Schema:
    """The schema of a kind; raises KeyError."""
    return named(definition_name(gvk))


_COMPILED: dict[str, Schema] = {}


def named(name: str) -> Schema:
    """The schema of a definition; raises KeyError."""
    if name not in _COMPILED:
        # Known before it is filled in: definitions may refer to themselves.
        node = _COMPILED[name] = Schema(_SPECIAL.get(name, s.OBJECT), name=name)
        if name not in _SPECIAL:
            s.fill(node, orjson.loads(_published()[0][name]), named)
            # `$ref` and friends are checked with the CRD.
            node.preserve = name == _JSON_SCHEMA
    return _COMPILED[name]


def of_custom(source: Object | None) -> Schema:
    """The schema of whole custom objects; without a source everything is kept."""
    everything = {"x-kubernetes-preserve-unknown-fields": True}
    node = s.compiled({"type": "object", **(everything if source is None else source)}, named)
    s.add_type_and_metadata(node, named)
    return node
