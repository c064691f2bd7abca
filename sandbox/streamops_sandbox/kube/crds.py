"""CustomResourceDefinitions: their defaults, rules, and serving what they define."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import clock, custom_schema, errors
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.kube.resources import Column, Resource, version_rank

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_CLEANUP = "customresourcecleanup.apiextensions.k8s.io"


class CustomResourceDefinitions(Strategy):
    """The CRD kind: served as soon as it is written."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Names that follow from others; no conversion."""
        spec = obj.setdefault("spec", {})
        names = spec.get("names") or {}
        if names.get("kind"):
            names.setdefault("singular", names["kind"].lower())
            names.setdefault("listKind", names["kind"] + "List")
        spec.setdefault("conversion", {"strategy": "None"})
        webhook = spec["conversion"].get("webhook") or {}
        service = (webhook.get("clientConfig") or {}).get("service")
        if service is not None:
            service.setdefault("port", 443)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Accept the names and establish at once."""
        obj["metadata"].setdefault("finalizers", [_CLEANUP])
        self._accept(obj, {})

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """Keep the status in step with the spec."""
        self._accept(obj, old.get("status") or {})

    def _accept(self, obj: Json, status: Json) -> None:
        spec = obj["spec"]
        storage = [
            version["name"] for version in spec.get("versions") or [] if version.get("storage")
        ]
        stored = list(dict.fromkeys([*(status.get("storedVersions") or []), *storage]))
        conditions = status.get("conditions") or [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition(
                "Established",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            ),
        ]
        obj["status"] = {
            "conditions": conditions,
            "acceptedNames": dict(spec.get("names") or {}),
            "storedVersions": stored,
        }

    def validate(self, obj: Json) -> list[Json]:
        """The name is derived; one version is stored; every version has a schema."""
        spec, name = obj["spec"], obj["metadata"].get("name", "")
        names = spec.get("names") or {}
        found = []
        expected = f"{names.get('plural', '')}.{spec.get('group', '')}"
        if name != expected:
            found.append(
                errors.cause(
                    "FieldValueInvalid",
                    "metadata.name",
                    f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group',
                )
            )
        versions = spec.get("versions") or []
        storage = [version for version in versions if version.get("storage")]
        if len(storage) != 1:
            shown = [version.get("name", "") for version in versions]
            found.append(
                errors.cause(
                    "FieldValueInvalid",
                    "spec.versions",
                    f"Invalid value: {shown}: must have exactly one version marked as storage "
                    "version",
                )
            )
        if spec.get("scope") not in ("Namespaced", "Cluster"):
            found.append(
                errors.cause(
                    "FieldValueNotSupported",
                    "spec.scope",
                    f'Unsupported value: "{spec.get("scope", "")}": supported values: "Cluster", '
                    '"Namespaced"',
                )
            )
        for index, version in enumerate(versions):
            if not (version.get("schema") or {}).get("openAPIV3Schema"):
                found.append(
                    errors.cause(
                        "FieldValueRequired",
                        f"spec.versions[{index}].schema.openAPIV3Schema",
                        "Required value: schemas are required",
                    )
                )
        return found

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """Group, plural name and scope cannot change."""
        found = []
        for path in (("group",), ("scope",), ("names", "plural"), ("names", "kind")):
            new, before = obj["spec"], old["spec"]
            for key in path:
                new, before = new.get(key), before.get(key)
            if new != before:
                field = "spec." + ".".join(path)
                found.append(
                    errors.cause(
                        "FieldValueInvalid", field, f'Invalid value: "{new}": field is immutable'
                    )
                )
        return found

    def warnings(self, obj: Json) -> list[str]:
        """Rules nobody here evaluates."""
        return [
            f"{obj['metadata']['name']}: x-kubernetes-validations of version {version['name']} are "
            "not evaluated by this server"
            for version in obj["spec"].get("versions") or []
            if _has_rules((version.get("schema") or {}).get("openAPIV3Schema"))
        ]

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """Serve the type, or clean up when the definition is being deleted."""
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            _clean_up(obj, api)
        elif old is None or old["spec"] != obj["spec"]:
            serve(obj, api)

    def deleted(self, obj: Json, api: Api) -> None:
        """Stop serving the type."""
        spec = obj["spec"]
        api.registry.remove(spec["group"], spec["names"]["plural"])
        api.store.drop(obj["metadata"]["name"])


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, dict):
        return bool(schema.get("x-kubernetes-validations")) or any(map(_has_rules, schema.values()))
    return isinstance(schema, list) and any(map(_has_rules, schema))


def _condition(type_: str, reason: str, message: str) -> Json:
    return {
        "type": type_,
        "status": "True",
        "lastTransitionTime": clock.now(),
        "reason": reason,
        "message": message,
    }


def serve(obj: Json, api: Api) -> None:
    """Register every served version of a definition."""
    spec = obj["spec"]
    group, plural = spec["group"], spec["names"]["plural"]
    api.registry.remove(group, plural)
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    for version in sorted(spec["versions"], key=lambda item: version_rank(item["name"])):
        if version.get("served"):
            api.registry.add(_resource(spec, version, f"{group}/{storage}"))


def _resource(spec: Json, version: Json, storage_version: str) -> Resource:
    names = spec["names"]
    sub = version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    return Resource(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        namespaced=spec["scope"] == "Namespaced",
        load_schema=partial(_load_schema, schema, keep=spec.get("preserveUnknownFields") is True),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("scale", "status") if sub.get(name) is not None),
        storage_version=storage_version,
        custom=True,
        scale_paths=sub.get("scale"),
        selectable_fields=tuple(
            field["jsonPath"].removeprefix(".") for field in version.get("selectableFields") or []
        ),
        columns=tuple(_column(column) for column in version.get("additionalPrinterColumns") or []),
        conversion=spec.get("conversion"),
        openapi=schema,
    )


def _load_schema(source: Json | None, *, keep: bool) -> Any:
    return custom_schema.compile_root(None if keep else source)


def _column(source: Json) -> Column:
    return Column(
        name=source["name"],
        type=source["type"],
        json_path=source["jsonPath"],
        description=source.get("description", ""),
        format=source.get("format", ""),
        priority=source.get("priority", 0),
    )


def _clean_up(obj: Json, api: Api) -> None:
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
            metadata["deletionTimestamp"] = clock.now()
            metadata["deletionGracePeriodSeconds"] = 0
            api.store.put(collection.name, custom)
    release(obj["metadata"]["name"], api)


def release(name: str, api: Api) -> None:
    """Remove a definition that is being deleted if no custom object is left."""
    stored = api.get("customresourcedefinitions.apiextensions.k8s.io", "", name)
    if stored is None or next(api.store.collection(name).items(), None) is not None:
        return
    obj = stored.load()
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp"):
        return
    metadata["finalizers"] = [item for item in metadata.get("finalizers", []) if item != _CLEANUP]
    if metadata["finalizers"]:
        api.store.put("customresourcedefinitions.apiextensions.k8s.io", obj)
        return
    api.store.remove("customresourcedefinitions.apiextensions.k8s.io", "", name)
    CustomResourceDefinitions().deleted(obj, api)
