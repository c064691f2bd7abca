"""From a request's object to one that may be stored: decoding, pruning, defaults, checks."""

from __future__ import annotations

import orjson

from streamops_sandbox.kube import builtin_schemas, custom_objects, decoding, errors, names
from streamops_sandbox.kube.api import Api, Write
from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.schema import OBJECT_META
from streamops_sandbox.objects import Object

#: How often an update of a built-in kind judges the metadata: once for every layer that does.
_METADATA_CHECKS = 4
_MAX_ANNOTATIONS = 256 * 1024


def check_type(obj: Object, resource: Resource, api: Api, *, patched: bool = False) -> None:
    """Check that the body's apiVersion and kind are those of the path; raises a 400 or 422."""
    try:
        _check_type(obj, resource, api)
    except errors.StatusError as error:
        if patched and not resource.custom:
            raise _bad_patch(obj, error.message) from error
        raise


def _check_type(obj: Object, resource: Resource, api: Api) -> None:
    kind, version = obj.get("kind"), obj.get("apiVersion")
    if not kind and not resource.custom:
        kind = resource.kind
    if resource.custom and not kind:
        raise errors.bad_request(f"Object 'Kind' is missing in '{orjson.dumps(obj).decode()}'")
    if resource.custom and kind != resource.kind and version == resource.api_version:
        found = Causes()
        found.invalid("kind", kind, f"must be {resource.kind}")
        name = (obj.get("metadata") or {}).get("name", "")
        raise errors.invalid(resource.group, str(kind), name, found)
    stated = version or resource.custom
    if stated and version != resource.api_version and kind == resource.kind:
        version = version or ""
        group, _, short = version.rpartition("/")
        if resource.custom or api.registry.has_version(group, short):
            text = (
                f"the API version in the data ({version}) does not match the expected API version"
            )
            raise errors.bad_request(f"{text} ({resource.api_version})")
        text = errors.unregistered(kind, version, "pkg/api/legacyscheme/scheme.go:30")
        raise _unhandled(kind, short, resource, text)
    if kind and kind != resource.kind:
        short = (version or resource.api_version).rpartition("/")[2]
        package = resource.group.partition(".")[0] or "core"
        group = (version or "").rpartition("/")[0]
        source = group.partition(".")[0] or short
        text = f"converting ({source}.{kind}) to ({package}.{resource.kind}): unknown conversion"
        raise _unhandled(kind, short, resource, text)


def _unhandled(kind: str, version: str, resource: Resource, why: str) -> errors.StatusError:
    return errors.bad_request(
        f'{kind} in version "{version}" cannot be handled as a {resource.kind}: {why}'
    )


def shape(obj: Object, resource: Resource, api: Api, write: Write) -> Object:
    """Return the object in its type's shape, with defaults; reports unknown fields as asked."""
    typed = {**obj, "apiVersion": resource.api_version, "kind": resource.kind}
    typed["metadata"] = typed.get("metadata") or {}
    decoder = decoding.Decoder()
    result: Object
    prefix = (
        f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
    )
    try:
        if resource.custom:
            meta_schema = builtin_schemas.named(OBJECT_META)
            typed["metadata"] = decoder.conform(typed["metadata"], meta_schema, "metadata")
            result = custom_objects.conform(typed, resource.schema, "", decoder.unknown)
        else:
            result = decoder.conform(typed, resource.schema)
    except decoding.DecodeError as error:
        if write.patched:
            raise _bad_patch(typed, str(error)) from error
        raise errors.bad_request(prefix + str(error)) from error
    unknown = [f'unknown field "{path}"' for path in decoder.unknown]
    # A field that is unknown is reported once, whatever it says.
    known = [
        text for text in write.duplicates if text.replace("duplicate", "unknown", 1) not in unknown
    ]
    found = (write.duplicates if write.patched else known) + unknown
    write.duplicates = []
    if found and write.field_validation == "Strict":
        why = f"strict decoding error: {', '.join(found)}"
        raise _bad_patch(typed, why) if write.patched else errors.bad_request(prefix + why)
    for text in found if write.field_validation == "Warn" else ():
        lines = text.removeprefix("yaml: unmarshal errors:\n").split("\n")
        write.warnings.extend(line.strip() for line in lines)
    result.setdefault("metadata", {})
    if not resource.custom:
        api.strategy(resource).default(result)
    return result


def _bad_patch(patched: Object, why: str) -> errors.StatusError:
    found = Causes()
    found.invalid("patch", orjson.dumps(patched).decode(), why)
    return errors.invalid("", "", "", found)


def check(
    obj: Object, old: Object | None, resource: Resource, api: Api, subresource: str = ""
) -> None:
    """Check all rules at once; raises a 422. `old` is the state before an update."""
    found, of_metadata = Causes(), Causes()
    if old is not None:
        _check_metadata_update(obj["metadata"], old["metadata"], found)
    _check_metadata(obj["metadata"], resource, of_metadata)
    found += of_metadata * (1 if resource.custom or old is None else _METADATA_CHECKS)
    if resource.custom:
        found += custom_objects.validate(obj, resource.schema, old)
    else:
        strategy = api.strategy(resource)
        if not strategy.has_rules:
            found += custom_objects.validate(obj, resource.schema, old)
        strategy.validate(obj, found)
        if subresource == "status":
            strategy.validate_status(obj, found)
        if old is not None:
            strategy.validate_update(obj, old, found)
    if found:
        name = obj["metadata"].get("name", "")
        group = "" if resource.collection == "events" else resource.group  # as upstream
        raise errors.invalid(group, resource.kind, name, found)


def _check_metadata(metadata: Object, resource: Resource, found: Causes) -> None:
    name = metadata.get("name", "")
    problems = names.problems(name, group=resource.group, kind=resource.kind)
    found.problems("metadata.name", name, problems)
    found.labels("metadata.labels", metadata.get("labels"))
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        found.problems("metadata.annotations", key, names.label_key_problems(key.lower()))
    if sum(len(key) + len(value) for key, value in annotations.items()) > _MAX_ANNOTATIONS:
        found.too_long("metadata.annotations", _MAX_ANNOTATIONS)
    owners = metadata.get("ownerReferences") or []
    for owner in owners:
        if (owner.get("apiVersion"), owner.get("kind")) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            found.invalid("metadata.ownerReferences", owner, text)
    controllers = [
        f"{one.get('kind')}/{one.get('name')}" for one in owners if one.get("controller")
    ]
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true. Found"
        why = f'{text} "true" in references for {controllers[0]} and {controllers[1]}'
        found.invalid("metadata.ownerReferences", owners, why)
    if owners or metadata.get("finalizers"):
        declared.check_shape(metadata, "metadata", found, "metadata")
        if not resource.custom:
            declared.check_shape(metadata, "built_in_metadata", found, "metadata")


def _check_metadata_update(metadata: Object, old: Object, found: Causes) -> None:
    """Check what an update may not do; two layers of the real server report it."""
    kept = old.get("finalizers") or []
    added = [f'"{item}"' for item in metadata.get("finalizers") or [] if item not in kept]
    if old.get("deletionTimestamp") and added:
        text = "no new finalizers can be added if the object is being deleted, found new finalizers"
        for _ in range(2):
            found.forbidden("metadata.finalizers", f"{text} []string{{{', '.join(added)}}}")
