"""CustomResourceDefinitions: their defaults, rules, and serving what they define."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from streamops_sandbox import timestamps
from streamops_sandbox.kube import builtin_schemas, crd_validation, managed
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.resources import Resource, version_rank
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

COLLECTION = "customresourcedefinitions.apiextensions.k8s.io"
_KIND = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
_NAMING = managed.Manager("kube-apiserver", managed.UPDATE, "apiextensions.k8s.io/v1", "status")
#: Names in the order they are judged, with the reason of a conflict.
_NAME_REASONS = {
    "plural": "PluralConflict", "singular": "SingularConflict", "kind": "KindConflict",
    "listKind": "ListKindConflict",
}  # fmt: skip
CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


class CustomResourceDefinitions(Strategy):
    """The CRD kind: served as soon as it is written."""

    def default(self, obj: Object) -> None:
        """Names that follow from others; no conversion."""
        spec = obj.setdefault("spec", {})
        names = spec.get("names") or {}
        if names.get("kind"):
            names.setdefault("singular", names["kind"].lower())
            names.setdefault("listKind", names["kind"] + "List")
        super().default(obj)

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Start with nothing accepted: names are judged once the definition is stored."""
        obj["status"] = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": None}
        self._add_stored_version(obj, {})

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Add a new storage version to those that objects may be stored in."""
        self._add_stored_version(obj, old.get("status") or {})

    @staticmethod
    def _add_stored_version(obj: Object, status: Object) -> None:
        versions = obj["spec"].get("versions") or []
        storage = [version.get("name", "") for version in versions if version.get("storage")]
        stored = list(dict.fromkeys([*(status.get("storedVersions") or []), *storage]))
        obj["status"] = {**(obj.get("status") or {}), "storedVersions": stored}

    def validate(self, obj: Object, found: Causes) -> None:
        """Check names, versions and schemas."""
        super().validate(obj, found)
        crd_validation.validate(obj, found)

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse another group, scope, kind or plural name."""
        found.immutable(obj["spec"], old["spec"], "spec", "group", "scope")
        found.immutable(obj["spec"]["names"], old["spec"]["names"], "spec.names", "kind", "plural")

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """Serve the type, or clean up when the definition is being deleted."""
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            _clean_up(obj, api)
        elif old is None or old["spec"] != obj["spec"]:
            # After this write has been answered, as the real server's own controllers do it.
            asyncio.get_running_loop().call_soon(establish, metadata["name"], api)

    def deleted(self, obj: Object, api: Api) -> None:
        """Stop serving the type."""
        spec = obj["spec"]
        api.registry.remove(spec["group"], spec["names"]["plural"])
        api.store.drop(obj["metadata"]["name"])


def establish(name: str, api: Api) -> None:
    """Accept a definition's names, as far as they are free, and serve its type."""
    stored = api.get(COLLECTION, "", name)
    if stored is None:
        return
    old = stored.load()
    spec, wanted = old["spec"], old["spec"]["names"]
    used = _used_names(spec["group"], name, api)
    accepted, conflicts = {}, []
    for key, reason in _NAME_REASONS.items():
        value = wanted.get(key)
        if value in used:
            conflicts.append((reason, f'"{value}" is already in use'))
        elif value:
            accepted[key] = value
    for key in ("shortNames", "categories"):
        if wanted.get(key):
            accepted[key] = wanted[key]
    before = {item["type"]: item for item in (old.get("status") or {}).get("conditions") or []}
    named = ("True", "NoConflicts", "no conflicts found")
    served = ("True", "InitialNamesAccepted", "the initial names have been accepted")
    if conflicts:
        named = ("False", *conflicts[-1])
        served = ("False", "NotAccepted", "not all names are accepted")
    fresh = [_condition("NamesAccepted", *named), _condition("Established", *served)]
    if (before.get("Established") or {}).get("status") == "True":
        fresh[1] = before["Established"]
    kept = [before.get(item["type"]) for item in fresh]
    conditions = [
        was if was and was["status"] == item["status"] else item
        for was, item in zip(kept, fresh, strict=True)
    ]
    status = {**old["status"], "acceptedNames": accepted, "conditions": conditions}
    if status != old["status"]:
        new = {**old, "metadata": dict(old["metadata"]), "status": status}
        schema = builtin_schemas.of_kind(_KIND)
        api.store.put(COLLECTION, managed.track_update(old, new, _NAMING, schema))
    if conditions[1]["status"] == "True":
        serve(old, api)


def _used_names(group: str, but: str, api: Api) -> set[str]:
    """Return the names other definitions of a group have got."""
    used: set[str] = set()
    for stored in api.store.collection(COLLECTION).items():
        other = stored.load()
        if stored.name != but and other["spec"]["group"] == group:
            accepted = (other.get("status") or {}).get("acceptedNames") or {}
            used |= {accepted.get(key, "") for key in _NAME_REASONS}
    return used - {""}


def mark_deleted(obj: Object) -> None:
    """Add the condition of a definition that is being deleted, in place."""
    text = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    condition = _condition("Terminating", "True", "InstanceDeletionPending", text)
    status = obj.setdefault("status", {})
    status["conditions"] = [*(status.get("conditions") or []), condition]


def _condition(type_: str, status: str, reason: str, message: str) -> Object:
    return {
        "type": type_, "status": status, "lastTransitionTime": timestamps.now(), "reason": reason,
        "message": message,
    }  # fmt: skip


def serve(obj: Object, api: Api) -> None:
    """Register every served version of a definition."""
    spec = obj["spec"]
    group, plural = spec["group"], spec["names"]["plural"]
    api.registry.remove(group, plural)
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    keep = spec.get("preserveUnknownFields") is True
    loaders: dict[str, Callable[[], Schema]] = {
        version["name"]: partial(builtin_schemas.of_custom, None if keep else _schema(version))
        for version in spec["versions"]
    }
    for version in sorted(spec["versions"], key=lambda item: version_rank(item["name"])):
        if version.get("served"):
            api.registry.add(_resource(spec, version, storage, loaders))


def _schema(version: Object) -> Object | None:
    return (version.get("schema") or {}).get("openAPIV3Schema")


def _resource(
    spec: Object, version: Object, storage: str, loaders: dict[str, Callable[[], Schema]]
) -> Resource:
    names = spec["names"]
    sub = version.get("subresources") or {}
    deprecation = f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        namespaced=spec["scope"] == "Namespaced",
        load_schema=loaders[version["name"]],
        storage_schema=loaders[storage],
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("scale", "status") if sub.get(name) is not None),
        storage_version=f"{spec['group']}/{storage}",
        custom=True,
        scale_paths=sub.get("scale"),
        selectable_fields=tuple(
            field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or []
        ),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        conversion=spec.get("conversion"),
        deprecation=version.get("deprecationWarning")
        or deprecation * bool(version.get("deprecated")),
        openapi=_schema(version),
    )


def _clean_up(obj: Object, api: Api) -> None:
    """Delete all custom objects; once none is left, let the definition go.

    Objects with finalizers stay until these are done; each later removal comes back here.
    """
    collection = api.store.collection(obj["metadata"]["name"])
    for stored in list(collection.items()):
        custom = stored.load()
        metadata = custom["metadata"]
        if not metadata.get("finalizers"):
            api.store.remove(collection.name, stored.namespace, stored.name)
        elif not metadata.get("deletionTimestamp"):
            marks = {"deletionTimestamp": timestamps.now(), "deletionGracePeriodSeconds": 0}
            api.store.put(collection.name, {**custom, "metadata": {**metadata, **marks}})
    release(obj["metadata"]["name"], api)


def release(name: str, api: Api) -> None:
    """Remove a definition that is being deleted if no custom object is left."""
    stored = api.get(COLLECTION, "", name)
    if stored is None or next(api.store.collection(name).items(), None) is not None:
        return
    obj = stored.load()
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        return
    metadata["finalizers"] = [item for item in metadata.get("finalizers", []) if item != CLEANUP]
    if metadata["finalizers"]:
        api.store.put(COLLECTION, obj)
        return
    api.store.remove(COLLECTION, "", name)
    CustomResourceDefinitions().deleted(obj, api)
