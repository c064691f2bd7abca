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
from typing import Any

import orjson

from streamops_sandbox.kube import schema as s
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

GroupVersionKind = tuple[str, str, str]

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_REF = "#/$defs/"

#: Definitions whose published schema says less than their Go type.
_SPECIAL = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": s.INT_OR_STRING,
    "io.k8s.apimachinery.pkg.api.resource.Quantity": s.QUANTITY,
    "io.k8s.apimachinery.pkg.runtime.RawExtension": s.ANY,
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": s.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": s.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": s.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": s.ANY,
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": s.ANY,
}
_JSON_SCHEMA = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"

#: Defaults of list keys, which identify an item even where it does not state them.
_KEY_DEFAULTS = {
    "io.k8s.api.core.v1.ContainerPort": {"protocol": "TCP"},
    "io.k8s.api.core.v1.ServicePort": {"protocol": "TCP"},
}


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


def _without_descriptions(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_descriptions(item)
            for key, item in value.items()
            if key != "description" or not isinstance(item, str)
        }
    if isinstance(value, list):
        return [_without_descriptions(item) for item in value]
    return value


class Definitions:
    """All definitions of one Kubernetes version, compiled on demand."""

    def __init__(self) -> None:
        self._snippets: dict[str, bytes] = {}
        self._by_kind: dict[GroupVersionKind, str] = {}
        self._compiled: dict[str, Schema] = {}
        for name, definition in read_definitions().items():
            self._snippets[name] = orjson.dumps(_without_descriptions(definition))
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
            self._fill(node, orjson.loads(self._snippets[name]))
            if name == _JSON_SCHEMA:
                node.preserve = True  # `$ref` and friends are checked with the CRD
            for key, value in _KEY_DEFAULTS.get(name, {}).items():
                node.properties[key] = _with_default(node.properties[key], value)
        return node

    def _node(self, source: Object) -> Schema:
        reference = source.get("$ref")
        if reference is not None:
            target = self.named(reference.removeprefix(_REF))
            if not any(key.startswith("x-kubernetes-") for key in source):
                return target
            node = _copy(target)
            s.apply_merge_keywords(node, source)
            return node
        type_ = _plain_type(source)
        if type_ in (s.STRING, s.INTEGER, s.NUMBER, s.BOOLEAN):
            return self._scalar(type_, source)
        node = Schema(type_)
        self._fill(node, source)
        return node

    def _scalar(self, type_: str, source: Object) -> Schema:
        if source.get("format") not in ("int64", "byte", "date-time"):
            return s.plain(type_)
        node = Schema(type_)
        node.checks = {"format": source["format"]}
        return node

    def _fill(self, node: Schema, source: Object) -> None:
        s.apply_merge_keywords(node, source)
        node.type = _plain_type(source)
        node.required = tuple(source.get("required", ()))
        if node.type in (s.STRING, s.INTEGER) and source.get("format"):
            node.checks = {"format": source["format"]}
        if "items" in source:
            node.items = self._node(source["items"])
        for key, value in source.get("properties", {}).items():
            node.properties[key] = self._node(value)
        if isinstance(source.get("additionalProperties"), dict):
            node.additional = self._node(source["additionalProperties"])


def _plain_type(source: Object) -> str:
    type_ = source.get("type")
    if isinstance(type_, list):  # the package allows null wherever a field is optional
        type_ = next(name for name in type_ if name != "null")
    if type_ == "object":
        if "properties" in source:
            return s.OBJECT
        return s.MAP if isinstance(source.get("additionalProperties"), dict) else s.ANY
    return type_ or s.ANY


def _copy(node: Schema) -> Schema:
    duplicate = Schema(node.type)
    for slot in Schema.__slots__:
        setattr(duplicate, slot, getattr(node, slot))
    return duplicate


def _with_default(node: Schema, value: Any) -> Schema:
    changed = _copy(node)
    changed.default, changed.has_default = value, True
    return changed


@lru_cache(maxsize=1)
def definitions() -> Definitions:
    """The definitions, read at first use."""
    return Definitions()
