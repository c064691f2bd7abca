"""Roles and bindings, and the aggregation of some ClusterRoles into others.

In a real cluster the controller manager aggregates; here it happens with the write itself, under the name of
that controller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamops_sandbox import label_selectors, timestamps
from streamops_sandbox.kube import managed
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy
from streamops_sandbox.objects import Object

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

_GROUP = "rbac.authorization.k8s.io"
_COLLECTION = f"clusterroles.{_GROUP}"
#: Aggregated roles may feed others (view → edit → admin): no chain is longer in practice.
_ROUNDS = 5
_AGGREGATOR = managed.Manager("clusterrole-aggregation-controller", managed.APPLY, f"{_GROUP}/v1")


class ClusterRoles(Strategy):
    """Roles of the whole cluster, of which some are made of others."""

    def written(self, obj: Object, old: Object | None, api: Api) -> None:
        """Update the roles made from this one."""
        aggregate(api)

    def deleted(self, obj: Object, api: Api) -> None:
        """Take this role's rules out of the roles made from it."""
        aggregate(api)


def aggregate(api: Api) -> None:
    """Bring the rules of all aggregated roles up to date."""
    for _ in range(_ROUNDS):
        if not _aggregate_once(api):
            return


def _aggregate_once(api: Api) -> bool:
    changed, collection = False, api.store.collection(_COLLECTION)
    for stored in list(collection.items()):
        if b'"aggregationRule"' not in stored.raw:
            continue
        role = stored.load()
        chosen = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
        rules: list[Object] = []
        for selector in chosen or ():
            for other in collection.items():
                if other.name != stored.name and label_selectors.matches(selector, other.labels):
                    rules += [rule for rule in other.load().get("rules") or [] if rule not in rules]
        if chosen and rules != (role.get("rules") or []):
            fields: Object = {"f:rules": {}}
            entries = managed.read(role["metadata"].get("managedFields"))
            others = managed.surrender(entries, fields)
            if rules:
                others[_AGGREGATOR.key] = managed.Entry(_AGGREGATOR, fields, timestamps.now())
            role["metadata"]["managedFields"] = managed.write(others)
            api.store.put(_COLLECTION, {**role, "rules": rules})
            changed = True
    return changed


class RoleBindings(Strategy):
    """Role and ClusterRole bindings: the role they give cannot change."""

    def validate_update(self, obj: Object, old: Object, found: Causes) -> None:
        """Refuse another role."""
        if obj["roleRef"] != old["roleRef"]:
            shown = {key: obj["roleRef"].get(key, "") for key in ("apiGroup", "kind", "name")}
            found.invalid("roleRef", shown, "cannot change roleRef")
