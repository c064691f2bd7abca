"""Roles and bindings, and the aggregation of some ClusterRoles into others.

In a real cluster the controller manager aggregates; here it happens with the write itself, under the name of
that controller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import clock, managed, names, selectors
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_GROUP = "rbac.authorization.k8s.io"
_COLLECTION = f"clusterroles.{_GROUP}"
#: Aggregated roles may feed others (view → edit → admin): no chain is longer in practice.
_ROUNDS = 5
_AGGREGATOR = managed.Manager("clusterrole-aggregation-controller", managed.APPLY, f"{_GROUP}/v1")


class Roles(Strategy):
    """Roles of a namespace."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check each rule."""
        for index, rule in enumerate(obj.get("rules") or []):
            field, paths = f"rules[{index}]", rule.get("nonResourceURLs")
            if not rule.get("verbs"):
                found.required(f"{field}.verbs", "verbs must contain at least one value")
            if paths and obj["metadata"].get("namespace"):
                why = "namespaced rules cannot apply to non-resource URLs"
                found.invalid(f"{field}.nonResourceURLs", paths, why)
            if paths and any(rule.get(key) for key in ("apiGroups", "resources", "resourceNames")):
                why = "rules cannot apply to both regular resources and non-resource URLs"
                found.invalid(f"{field}.nonResourceURLs", paths, why)
            for key, what in (("apiGroups", "api group"), ("resources", "resource")):
                if not paths and not rule.get(key):
                    found.required(
                        f"{field}.{key}", f"resource rules must supply at least one {what}"
                    )


class ClusterRoles(Roles):
    """Roles of the whole cluster."""

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the rules and the aggregation."""
        if obj.get("aggregationRule") is not None:
            chosen = obj["aggregationRule"].get("clusterRoleSelectors")
            field = "aggregationRule.clusterRoleSelectors"
            if not chosen:
                found.required(
                    field, "at least one clusterRoleSelector required if aggregationRule is non-nil"
                )
            for index, selector in enumerate(chosen or []):
                found.selector(f"{field}[{index}]", selector)
        super().validate(obj, found)

    def written(self, obj: Json, old: Json | None, api: Api) -> None:
        """Update the roles made from this one."""
        aggregate(api)

    def deleted(self, obj: Json, api: Api) -> None:
        """Take this role's rules out of the roles made from it."""
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
        if rules != (role.get("rules") or []):
            fields: Json = {"f:rules": {}}
            entries = managed.read(role["metadata"].get("managedFields"))
            others = managed.surrender(entries, fields)
            if rules:
                others[_AGGREGATOR.key] = managed.Entry(_AGGREGATOR, fields, clock.now())
            role["metadata"]["managedFields"] = managed.write(others)
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


class RoleBindings(Strategy):
    """Role and ClusterRole bindings: the role they give cannot change."""

    def default(self, obj: Json) -> None:
        """Fill in the groups of the role and the subjects."""
        obj.setdefault("roleRef", {}).setdefault("apiGroup", _GROUP)
        for subject in obj.get("subjects") or []:
            if subject.get("kind") in ("User", "Group"):
                subject.setdefault("apiGroup", _GROUP)

    def validate(self, obj: Json, found: Causes) -> None:
        """Check the role and each subject."""
        namespaced = bool(obj["metadata"].get("namespace"))
        role = obj["roleRef"]
        if role["apiGroup"] != _GROUP:
            found.unsupported("roleRef.apiGroup", role["apiGroup"], (_GROUP,))
        kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
        if role.get("kind") not in kinds:
            found.unsupported("roleRef.kind", role.get("kind", ""), kinds)
        if not role.get("name"):
            found.required("roleRef.name")
        else:
            found.problems("roleRef.name", role["name"], names.path_segment(role["name"]))
        for index, subject in enumerate(obj.get("subjects") or []):
            field, kind = f"subjects[{index}]", subject.get("kind", "")
            if not subject.get("name"):
                found.required(f"{field}.name")
            if kind == "ServiceAccount":
                if subject.get("name"):
                    found.problems(
                        f"{field}.name", subject["name"], names.subdomain(subject["name"])
                    )
                if subject.get("apiGroup"):
                    found.unsupported(f"{field}.apiGroup", subject["apiGroup"], ("",))
                if not subject.get("namespace") and not namespaced:
                    found.required(f"{field}.namespace")
            elif kind in ("User", "Group"):
                if subject["apiGroup"] != _GROUP:
                    found.unsupported(f"{field}.apiGroup", subject["apiGroup"], (_GROUP,))
            else:
                found.unsupported(f"{field}.kind", kind, ("ServiceAccount", "User", "Group"))

    def validate_update(self, obj: Json, old: Json, found: Causes) -> None:
        """Refuse another role."""
        if obj["roleRef"] != old["roleRef"]:
            shown = {key: obj["roleRef"].get(key, "") for key in ("apiGroup", "kind", "name")}
            found.invalid("roleRef", shown, "cannot change roleRef")
