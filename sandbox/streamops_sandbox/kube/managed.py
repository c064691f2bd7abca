"""Field ownership: `metadata.managedFields`, kept for every write.

Follows k8s.io/apimachinery/pkg/util/managedfields and structured-merge-diff's `merge.Updater`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors, fieldset
from streamops_sandbox.kube import merge as typed
from streamops_sandbox.kube.fieldset import Set
from streamops_sandbox.kube.schema import Schema
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Write

ManagerKey = tuple[str, str, str, str]

APPLY = "Apply"
UPDATE = "Update"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

#: Fields the server alone writes; nobody owns them.
_SERVERS = (
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
    "managedFields", "resourceVersion",
)  # fmt: skip
_STRIPPED: Set = {
    "f:apiVersion": {}, "f:kind": {}, "f:metadata": {".": {}, **{f"f:{key}": {} for key in _SERVERS}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manager:
    """Who writes, by which operation, in which version, through which subresource."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    @property
    def key(self) -> ManagerKey:
        """The identity; appliers keep theirs when they move to another apiVersion."""
        version = "" if self.operation == APPLY else self.api_version
        return (self.name, self.operation, version, self.subresource)

    def describe(self) -> str:
        """As conflicts name a manager."""
        text = orjson.dumps(self.name).decode()
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Entry:
    """What one manager owns, and since when."""

    manager: Manager
    fields: Set
    time: str


Entries = dict[ManagerKey, Entry]


def read(managed_fields: list[Object] | None) -> Entries:
    """Decode `metadata.managedFields`; raises a 422's cause text as ValueError."""
    entries: Entries = {}
    for item in managed_fields or []:
        keys = ("manager", "operation", "apiVersion", "subresource")
        manager = Manager(*(item.get(key, "") for key in keys))
        if manager.operation not in (APPLY, UPDATE):
            raise ValueError("must be `Apply` or `Update`")
        entries[manager.key] = Entry(manager, item.get("fieldsV1") or {}, item.get("time", ""))
    return entries


def write(entries: Entries) -> list[Object]:
    """Encode for `metadata.managedFields`, in the API server's order."""
    items = [
        {
            "manager": entry.manager.name,
            "operation": entry.manager.operation,
            "apiVersion": entry.manager.api_version,
            **({"time": entry.time} if entry.time else {}),
            "fieldsType": "FieldsV1",
            "fieldsV1": entry.fields,
            **({"subresource": entry.manager.subresource} if entry.manager.subresource else {}),
        }
        for entry in entries.values()
    ]
    order = ("operation", "time", "manager", "apiVersion", "subresource")
    return sorted(items, key=lambda item: [item.get(key, "") for key in order])


def _take(obj: Object) -> tuple[Object, list[Object] | None]:
    """The object without managedFields (a shallow copy), and these."""
    metadata = dict(obj.get("metadata") or {})
    managed = metadata.pop("managedFields", None)
    return {**obj, "metadata": metadata}, managed


def _with(obj: Object, entries: Entries) -> Object:
    metadata = dict(obj["metadata"])
    if entries:
        metadata["managedFields"] = write(entries)
    return {**obj, "metadata": metadata}


def _visible(fields: Set, manager: Manager, *, has_status: bool) -> Set:
    """Without what the server owns and what this endpoint does not write."""
    fields = fieldset.difference(fields, _STRIPPED)
    is_status = manager.subresource == "status"
    if is_status or has_status:
        fields = {key: node for key, node in fields.items() if (key == "f:status") is is_status}
    return fields


def surrender(entries: Entries, lost: Set, keep: ManagerKey | None = None) -> Entries:
    """Take paths away from everybody but one manager; drop those who own nothing more."""
    result: Entries = {}
    for key, entry in entries.items():
        if key == keep or not lost:
            result[key] = entry
            continue
        fields = fieldset.difference(entry.fields, lost)
        if fields:
            result[key] = replace(entry, fields=fields) if fields != entry.fields else entry
    return result


def track_update(
    live: Object | None, new: Object, manager: Manager, schema: Schema, *, has_status: bool = True
) -> Object:
    """The new object with ownership of what it changes given to the writer.

    `live` is None on creation. A client may clear the list by sending `[{}]`.
    """
    new, sent = _take(new)
    # A new object of a built-in kind has an empty specification before the first field is set.
    blank: Object = {} if not schema.name or new.get("spec") else {"spec": {}}
    old, known = (blank, None) if live is None else _take(live)
    if live is not None and not known and sent in (None, [], [{}]):
        return new  # what nobody tracks stays so until somebody applies
    try:
        entries = {} if sent == [{}] else read(sent or known)
    except ValueError:
        entries = read(known)
    comparison = typed.compare(old, new, schema)
    changed = fieldset.union(comparison.added, comparison.modified)
    lost = fieldset.union(changed, comparison.removed)
    entries = surrender(entries, lost, manager.key)
    own = entries.get(manager.key)
    mine = fieldset.difference(own.fields, comparison.removed) if own else {}
    gained = _visible(changed, manager, has_status=has_status)
    if gained:
        # As in the real server, what was gained through `scale` carries no time.
        time = "" if manager.subresource == "scale" else timestamps.now()
        entries[manager.key] = Entry(manager, fieldset.union(mine, gained), time)
    elif own and mine:
        entries[manager.key] = replace(own, fields=mine)
    elif own:
        del entries[manager.key]
    return _with(new, entries)


def apply(live: Object, config: Object, write: Write, *, force: bool) -> Object:
    """Server-side apply: the merged object with its managedFields.

    Raises a 409 with one cause per field that others own and this would change.
    """
    resource, schema, has_status = write.resource, write.resource.schema, write.resource.has_status
    manager = Manager(write.manager, APPLY, resource.api_version, write.subresource)
    config, _ = _take(config)
    live, known = _take(live)
    entries = read(known)
    if live.get("metadata", {}).get("uid") and not entries:
        entries = _before_first_apply(live, manager, schema, has_status=has_status)
    last = entries.get(manager.key)
    stated = typed.field_set(config, schema)
    owned = _visible(stated, manager, has_status=has_status)
    entries[manager.key] = Entry(manager, owned, last.time if last else "")
    merged = typed.merge(live, config, schema)
    merged = _prune(merged, entries, stated, last, schema)
    comparison = typed.compare(live, merged, schema)
    touched = fieldset.union(comparison.added, comparison.modified)
    conflicts = _conflicts(entries, manager.key, touched)
    if conflicts and not force and not _upgrades_client_side(manager, live, conflicts, schema):
        raise conflict_error(conflicts)
    lost = fieldset.union(touched, comparison.removed)
    entries = surrender(entries, lost, manager.key)
    if merged == live and last is not None and last.fields == owned:
        return _with(live, entries)
    if owned:
        # Ownership without a change of the object is recorded without a new time.
        time = timestamps.now() if merged != live else last.time if last else ""
        entries[manager.key] = Entry(manager, owned, time)
    else:
        del entries[manager.key]
    if manager.name == "kubectl" and _LAST_APPLIED in (live["metadata"].get("annotations") or {}):
        merged = _with_last_applied(merged, config)
    return _with(merged, entries)


def _prune(
    merged: Object, entries: Entries, stated: Set, last: Entry | None, schema: Schema
) -> Object:
    """Drop what this manager applied before, does not state now, and nobody else owns."""
    if last is None or not fieldset.difference(last.fields, stated):
        return merged
    managed = stated
    for entry in entries.values():
        managed = fieldset.union(managed, entry.fields)
    gone = fieldset.difference(
        typed.with_named_fields(last.fields, schema), typed.with_named_fields(managed, schema)
    )
    if not gone:
        return merged
    pruned: Object = typed.remove(merged, gone, schema)
    return pruned


def _conflicts(entries: Entries, own: ManagerKey, touched: Set) -> list[tuple[Manager, Set]]:
    return [
        (entry.manager, both)
        for key, entry in entries.items()
        if key != own and (both := fieldset.intersection(entry.fields, touched))
    ]


def conflict_error(conflicts: list[tuple[Manager, Set]]) -> errors.StatusError:
    """409 in kubectl's expected form: who owns which fields."""
    pairs = [
        (manager.describe(), fieldset.describe(path))
        for manager, fields in sorted(conflicts, key=lambda item: item[0].describe())
        for path in sorted(fieldset.paths(fields))
    ]
    if len(pairs) == 1:
        message = f"Apply failed with 1 conflict: conflict with {pairs[0][0]}: {pairs[0][1]}"
    else:
        lines = []
        for who in dict.fromkeys(name for name, _ in pairs):
            lines.append(f"conflicts with {who}:")
            lines += [f"- {path}" for name, path in pairs if name == who]
        message = f"Apply failed with {len(pairs)} conflicts: " + "\n".join(lines)
    causes = [
        errors.cause("FieldManagerConflict", path, f"conflict with {who}") for who, path in pairs
    ]
    return errors.StatusError(409, "Conflict", message, details={"causes": causes})


def _with_last_applied(obj: Object, config: Object) -> Object:
    """Keep the annotation of kubectl's client-side apply in step with what is applied now."""
    text = orjson.dumps(config, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations = {**obj["metadata"].get("annotations", {}), _LAST_APPLIED: text}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _before_first_apply(
    live: Object, manager: Manager, schema: Schema, *, has_status: bool
) -> Entries:
    """An object nobody tracked belongs to `before-first-apply`."""
    owner = Manager("before-first-apply", UPDATE, manager.api_version)
    fields = _visible(typed.compare({}, live, schema).added, owner, has_status=has_status)
    return {owner.key: Entry(owner, fields, timestamps.now())} if fields else {}


def _upgrades_client_side(
    manager: Manager, live: Object, conflicts: list[tuple[Manager, Set]], schema: Schema
) -> bool:
    """Whether `kubectl` only takes over what it had applied from the client's side before."""
    annotations = live["metadata"].get("annotations") or {}
    if manager.name != "kubectl" or _LAST_APPLIED not in annotations:
        return False
    try:
        applied = orjson.loads(annotations[_LAST_APPLIED])
    except orjson.JSONDecodeError:
        return False
    allowed = typed.field_set(applied, schema)
    allowed = fieldset.union(allowed, {"f:metadata": {"f:annotations": {f"f:{_LAST_APPLIED}": {}}}})
    return not any(fieldset.difference(fields, allowed) for _, fields in conflicts)


def same_but_times(old: Object, new: Object) -> bool:
    """Whether two versions differ in managedFields' times at most."""
    left, mine = _take(old)
    right, theirs = _take(new)
    if left != right or len(mine or []) != len(theirs or []):
        return False
    timeless, others = (
        [{key: item[key] for key in item if key != "time"} for item in items or []]
        for items in (mine, theirs)
    )
    return all(item in others for item in timeless)
