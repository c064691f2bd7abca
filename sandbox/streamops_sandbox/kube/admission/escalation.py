"""No escalation of rights: who writes a role or a binding has what it grants, or may `escalate` or `bind`.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.authn import MASTERS
from streamops_sandbox.kube.authz import CLUSTER_ROLES, ROLES, Attributes, Authorizer, rule_allows
from streamops_sandbox.objects import Object

_GROUP = "rbac.authorization.k8s.io"
_TITLES = {"apiGroups": "APIGroups"}
_FIELDS = ("apiGroups", "resources", "resourceNames", "nonResourceURLs", "verbs")


class Escalation:
    """Judges writes of roles and bindings."""

    def __init__(self, api: Api, authorizer: Authorizer) -> None:
        self._api = api
        self._authorizer = authorizer

    async def mutate(self, review: Review) -> Object | None:
        """Refuse a grant of what the writer does not have; changes nothing. Raises a 403."""
        resource, user = review.resource, review.write.user
        if resource.group != _GROUP or review.obj is None or MASTERS in user.groups:
            return None
        if resource.plural in ("roles", "clusterroles"):
            if review.old is not None and review.old.get("rules") == review.obj.get("rules"):
                return None
            verb, plural, name = "escalate", resource.plural, review.name
            rules = review.obj.get("rules") or []
            if review.obj.get("aggregationRule"):
                rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, *rules]
        else:
            unchanged = ("roleRef", "subjects")
            if review.old and all(review.old.get(k) == review.obj.get(k) for k in unchanged):
                return None
            role = review.obj.get("roleRef") or {}
            verb, name = "bind", role.get("name", "")
            plural = "roles" if role.get("kind") == "Role" else "clusterroles"
            rules = None
        wanted = Attributes(verb, _GROUP, plural, "", review.namespace, name)
        if self._authorizer.decide(user, wanted).allowed:
            return None
        if rules is None:
            rules = self._rules(plural, review.namespace, name)
        held = [rule for rule, _ in self._authorizer.rules(user, review.namespace)]
        missing = [
            part
            for rule in rules
            for part in _parts(rule)
            if not any(rule_allows(one, _right(part)) for one in held)
        ]
        if missing:
            groups = " ".join(f'"{group}"' for group in user.groups)
            listed = "\n".join(dict.fromkeys(map(_show, missing)))
            why = (
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
                f"currently held:\n{listed}"
            )
            raise errors.forbidden(_GROUP, resource.plural, review.name, why)
        return None

    def _rules(self, plural: str, namespace: str, name: str) -> list[Object]:
        """Return a role's rules; raises a 404, as nobody can tell what a missing role grants."""
        collection = ROLES if plural == "roles" else CLUSTER_ROLES
        stored = self._api.get(collection, namespace if plural == "roles" else "", name)
        if stored is None:
            raise errors.not_found(_GROUP, plural, name)
        rules: list[Object] = stored.load().get("rules") or []
        return rules


def _parts(rule: Object) -> Iterator[Object]:
    """Yield a rule's single rights."""
    if rule.get("nonResourceURLs"):
        for url, verb in itertools.product(rule["nonResourceURLs"], rule.get("verbs") or []):
            yield {"nonResourceURLs": [url], "verbs": [verb]}
        return
    names = rule.get("resourceNames") or [None]
    groups, resources, verbs = (rule.get(key) or [] for key in ("apiGroups", "resources", "verbs"))
    for group, resource, name, verb in itertools.product(groups, resources, names, verbs):
        part = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
        yield part if name is None else {**part, "resourceNames": [name]}


def _right(part: Object) -> Attributes:
    """Return a single right as an action."""
    verb = part["verbs"][0]
    if "nonResourceURLs" in part:
        return Attributes(verb, path=part["nonResourceURLs"][0])
    plural, _, subresource = part["resources"][0].partition("/")
    name = part.get("resourceNames", [""])[0]
    return Attributes(verb, part["apiGroups"][0], plural, subresource, name=name)


def _show(part: Object) -> str:
    pairs = []
    for key in _FIELDS:
        if part.get(key):
            title = _TITLES.get(key, key[0].upper() + key[1:])
            quoted = " ".join(f'"{item}"' for item in part[key])
            pairs.append(f"{title}:[{quoted}]")
    return "{" + ", ".join(pairs) + "}"
