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


class Definitions:
    """All definitions of one Kubernetes version, compiled on demand."""

    def __init__(self) -> None:
        self._snippets: dict[str, bytes] = {}
        self._by_kind: dict[GroupVersionKind, str] = {}
        self._compiled: dict[str, Schema] = {}
        published = read_definitions()
        for name in _WITH_PROTOCOL:
            published[name]["properties"]["protocol"]["default"] = "TCP"
        for name, definition in published.items():
            self._snippets[name] = orjson.dumps(_reduced(definition))
            kinds = definition.get("x-kubernetes-group-version-kind", [])
            for gvk in kinds if len(kinds) == 1 else []:
                self._by_kind[(gvk["group"], gvk["version"], gvk["kind"])] = name

    def definition_name(self, gvk: GroupVersionKind) -> str:
        """The definition of a kind; raises KeyError."""
        return self._by_kind[gvk]

    def of_kind(self, gvk: GroupVersionKind) -> Schema:
        """The schema of a kind; raises KeyError."""
        return self.named(self._by_kind[gvk])

    def named(self, name: str) -> Schema:
        """The schema of a definition; raises KeyError."""
        found = self._compiled.get(name)
        if found is not None:
            return found
        node = Schema(_SPECIAL.get(name, s.OBJECT), name=name)
        self._compiled[name] = node  # first: definitions may refer to themselves
        if name not in _SPECIAL:
            s.fill(node, orjson.loads(self._snippets[name]), self.named)
            # `$ref` and friends are checked with the CRD.
            node.preserve = name == _JSON_SCHEMA
        return node


@lru_cache(maxsize=1)
def definitions() -> Definitions:
    """The definitions, read at first use."""
    return Definitions()
