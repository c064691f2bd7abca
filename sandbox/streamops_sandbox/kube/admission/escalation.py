"""No escalation of rights: who writes a role or a binding has what it grants, or may `escalate` or `bind`.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from streamops_sandbox.kube import errors
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.authn import MASTERS
from streamops_sandbox.kube.authz import Attributes, Authorizer, rule_allows
from streamops_sandbox.objects import Object

_GROUP = "rbac.authorization.k8s.io"
_FIELDS = ("apiGroups", "resources", "resourceNames", "nonResourceURLs", "verbs")


async def check(api: Api, authorizer: Authorizer, review: Review) -> None:
    """Refuse a grant of what the writer does not have; raises a 403."""
    resource, user, obj = review.resource, review.write.user, review.obj
    if resource.group != _GROUP or obj is None or MASTERS in user.groups:
        return
    is_role = resource.plural in ("roles", "clusterroles")
    fixed = ("rules",) if is_role else ("roleRef", "subjects")
    if review.old is not None and all(review.old.get(key) == obj.get(key) for key in fixed):
        return
    verb, plural, name = "escalate", resource.plural, review.name
    if not is_role:
        role = obj.get("roleRef") or {}
        verb, name = "bind", role.get("name", "")
        plural = "roles" if role.get("kind") == "Role" else "clusterroles"
    wanted = Attributes(verb, _GROUP, plural, "", review.namespace, name)
    if authorizer.decide(user, wanted) is not None:
        return
    rules = (obj if is_role else _role(api, plural, review.namespace, name)).get("rules") or []
    if is_role and obj.get("aggregationRule"):
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, *rules]
    held = [rule for rule, _ in authorizer.rules(user, review.namespace)]
    parts = [part for rule in rules for part in _parts(rule)]
    missing = [one for one in parts if not any(rule_allows(rule, _right(one)) for rule in held)]
    if missing:
        groups = " ".join(f'"{group}"' for group in user.groups)
        listed = "\n".join(dict.fromkeys(map(_show, missing)))
        why = (
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not '
            f"currently held:\n{listed}"
        )
        raise errors.forbidden(_GROUP, resource.plural, review.name, why)


def _role(api: Api, plural: str, namespace: str, name: str) -> Object:
    """Return a role; raises a 404 for a missing one, whose rights are unknown."""
    stored = api.get(f"{plural}.{_GROUP}", namespace if plural == "roles" else "", name)
    if stored is None:
        raise errors.not_found(_GROUP, plural, name)
    return stored.load()


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
    for key in (key for key in _FIELDS if part.get(key)):
        title = "APIGroups" if key == "apiGroups" else key[0].upper() + key[1:]
        quoted = " ".join(f'"{item}"' for item in part[key])
        pairs.append(f"{title}:[{quoted}]")
    return "{" + ", ".join(pairs) + "}"
