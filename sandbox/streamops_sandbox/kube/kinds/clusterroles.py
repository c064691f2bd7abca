"""ClusterRoles, and the aggregation of some into others.

In a real cluster the controller manager aggregates; here it happens with the write itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import selectors
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_COLLECTION = "clusterroles.rbac.authorization.k8s.io"
#: Aggregated roles may feed others (view → edit → admin): no chain is longer in practice.
_ROUNDS = 5


class ClusterRoles(Strategy):
    """Roles for the whole cluster."""

    def prepare_update(self, obj: Json, old: Json, api: Api) -> None:
        """The rules of an aggregated role are the aggregation's."""
        if obj.get("aggregationRule"):
            obj["rules"] = old.get("rules") or []

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """Roles made from this one follow it."""
        aggregate(api)

    def deleted(self, obj: Json, api: Api) -> None:
        """Roles made from this one lose its rules."""
        aggregate(api)


def aggregate(api: Api) -> None:
    """Bring the rules of all aggregated roles up to date."""
    for _ in range(_ROUNDS):
        if not _aggregate_once(api):
            return


def _aggregate_once(api: Api) -> bool:
    roles = [stored.load() for stored in api.store.collection(_COLLECTION).items()]
    changed = False
    for role in roles:
        chosen = (role.get("aggregationRule") or {}).get("clusterRoleSelectors")
        if not chosen:
            continue
        rules = _collected(role, roles, chosen)
        if rules != role.get("rules"):
            role["rules"] = rules
            api.store.put(_COLLECTION, role)
            changed = True
    return changed


def _collected(target: Json, roles: list[Json], chosen: list[Json]) -> list[Json]:
    rules: list[Json] = []
    for selector in map(selectors.from_object, chosen):
        for role in roles:
            metadata = role["metadata"]
            if metadata["name"] == target["metadata"]["name"]:
                continue
            if selector.matches(metadata.get("labels") or {}):
                rules += [rule for rule in role.get("rules") or [] if rule not in rules]
    return rules
