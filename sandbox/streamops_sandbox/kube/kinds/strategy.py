"""Behaviour of one kind: what is declared of it, and the hooks for what takes code."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from streamops_sandbox.kube.kinds import declared
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_LOCKED = "field is immutable when `immutable` is set"


class Strategy:
    """Defaults, rules and side effects of one kind; `rules` is what `kind_rules.yaml` has of it.

    `tracks_generation`: whether metadata.generation counts the changes of the desired state.
    `unconditional_update`: whether an update may leave out the resourceVersion.
    `create_on_update`: whether an update (PUT) of a missing object creates it.
    `returns_deleted`: whether a deletion is answered with the object instead of a Status.
    `has_rules`: whether its rules are known; else only what its schema requires is checked.
    """

    unconditional_update = True

    def __init__(self, rules: Object | None = None) -> None:
        self._rules = rules or {}
        self.tracks_generation: bool = self._rules.get("generation", False)
        self.create_on_update: bool = self._rules.get("upsert", False)
        self.returns_deleted: bool = self._rules.get("deleted", False)
        self.has_rules = "rules" in self._rules or type(self).validate is not Strategy.validate

    def default(self, obj: Object) -> None:
        """Fill in defaults, in place; has to be idempotent."""
        declared.fill(obj, self._rules.get("defaults", []))

    def prepare_create(self, obj: Object, api: Api) -> None:
        """Set what the server decides at creation, in place."""
        if "status" in self._rules:
            obj["status"] = copy.deepcopy(self._rules["status"])

    def prepare_update(self, obj: Object, old: Object, api: Api) -> None:
        """Set what the server decides at an update, in place."""

    def validate(self, obj: Object, found: Causes) -> None:
        """Collect the violations of an object."""
        declared.check(obj, self._rules.get("rules", []), found)

    def validate_status(self, obj: Object, found: Causes) -> None:
        """Collect the violations of a status that is written."""
        declared.check(obj, self._rules.get("status_rules", []), found)

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Collect the violations of a change, besides those of the object itself."""
        for path in self._rules.get("immutable", []):
            prefix, _, key = path.rpartition(".")
            new, before = (item.get(prefix) or {} if prefix else item for item in (obj, old))
            found.immutable(new, before, prefix, key)
        locked = self._rules.get("locked", []) if old.get("immutable") else []
        if locked and not obj.get("immutable"):
            found.forbidden("immutable", _LOCKED)
        for key in locked:
            if obj.get(key) != old.get(key):
                found.forbidden(key, _LOCKED)
        for place, why in self._rules.get("frozen", {}).items():
            path, _, field = place.partition(" as ")
            if declared.values(obj, path) != declared.values(old, path):
                found.forbidden(field or path, why)

    def warnings(self, obj: Object) -> list[str]:
        """Return what the writer should know, though it is no error."""
        return []

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """React to a write that has happened."""

    def deleted(self, obj: Object, api: Api) -> None:
        """React to a removal that has happened."""
