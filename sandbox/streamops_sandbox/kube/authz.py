"""Who may do what: role-based access control.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.authn import MASTERS, User
from streamops_sandbox.kube.store import Stored
from streamops_sandbox.objects import Object

_GROUP = "rbac.authorization.k8s.io"
ROLES = f"roles.{_GROUP}"
CLUSTER_ROLES = f"clusterroles.{_GROUP}"
BINDINGS = f"rolebindings.{_GROUP}"
CLUSTER_BINDINGS = f"clusterrolebindings.{_GROUP}"
_MAX_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Attributes:
    """One action: on a resource, or (with `path`) on anything else the server answers."""

    verb: str
    group: str = ""
    plural: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def resource(self) -> str:
        """As rules name it: `pods`, `pods/log`."""
        return f"{self.plural}/{self.subresource}" if self.subresource else self.plural


class Authorizer:
    """Decides by the roles and bindings in storage; remembers until these change."""

    def __init__(self, api: Api) -> None:
        self._collections = [
            api.store.collection(name)
            for name in (ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS)
        ]
        self._api = api
        self._seen = -1
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], str | None] = {}
        self._loaded: dict[Stored, Object] = {}

    def decide(self, user: User, wanted: Attributes) -> str | None:
        """Return by which binding a user may do something (maybe none); None where the user may not."""
        if MASTERS in user.groups:
            return ""
        latest = max(collection.latest for collection in self._collections)
        if latest != self._seen or len(self._decisions) > _MAX_REMEMBERED:
            self._seen = latest
            self._decisions.clear()
            self._loaded.clear()
        key = (user.name, user.groups, wanted)
        if key not in self._decisions:
            rules = self.rules(user, wanted.namespace)
            sources = (source for rule, source in rules if rule_allows(rule, wanted))
            self._decisions[key] = next(sources, None)
        return self._decisions[key]

    def rules(self, user: User, namespace: str) -> Iterator[tuple[Object, str]]:
        """All rules that hold for a user in a namespace ("" for the cluster), with their source."""
        places = [(CLUSTER_BINDINGS, "ClusterRoleBinding", "")]
        places += [(BINDINGS, "RoleBinding", namespace)] if namespace else []
        for collection, kind, space in places:
            for stored in self._api.store.collection(collection).items(space):
                binding = self._load(stored)
                subject = _subject(user, binding, space)
                if subject:
                    yield from self._role_rules(binding, kind, subject)

    def _load(self, stored: Stored) -> Object:
        if stored not in self._loaded:
            self._loaded[stored] = stored.load()
        return self._loaded[stored]

    def _role_rules(self, binding: Object, kind: str, subject: str) -> Iterator[tuple[Object, str]]:
        reference, metadata = binding["roleRef"], binding["metadata"]
        space, is_role = metadata.get("namespace", ""), reference["kind"] == "Role"
        collection = ROLES if is_role else CLUSTER_ROLES
        stored = self._api.get(collection, space if is_role else "", reference["name"])
        name = f"{metadata['name']}/{space}" if space else metadata["name"]
        source = f'RBAC: allowed by {kind} "{name}" of {reference["kind"]} "{reference["name"]}" to {subject}'
        for rule in self._load(stored).get("rules") or [] if stored else ():
            yield rule, source


def _subject(user: User, binding: Object, namespace: str) -> str:
    """Return which of a binding's subjects a user is, in words; empty for none."""
    for subject in binding.get("subjects") or []:
        kind, name, space = (subject.get(key) or "" for key in ("kind", "name", "namespace"))
        held = {
            "User": name == user.name,
            "Group": name in user.groups,
            "ServiceAccount": user.name == f"system:serviceaccount:{space or namespace}:{name}",
        }
        if held.get(kind):
            shown = f"{name}/{space}" if space and kind == "ServiceAccount" else name
            return f'{kind} "{shown}"'
    return ""


def rule_allows(rule: Object, wanted: Attributes) -> bool:
    """Whether one `PolicyRule` covers an action."""
    if not {"*", wanted.verb} & set(rule.get("verbs") or []):
        return False
    if wanted.path:
        return any(
            wanted.path == path or (path.endswith("*") and wanted.path.startswith(path[:-1]))
            for path in rule.get("nonResourceURLs") or []
        )
    resources = {"*", wanted.resource}
    if wanted.subresource:
        resources.add(f"*/{wanted.subresource}")
    names = rule.get("resourceNames") or []
    return (
        bool({"*", wanted.group} & set(rule.get("apiGroups") or []))
        and bool(resources & set(rule.get("resources") or []))
        and (not names or wanted.name in names)
    )


def refusal(user: User, wanted: Attributes) -> str:
    """Why not, as the API server words it."""
    if wanted.path:
        return f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {wanted.verb} resource "{wanted.resource}" in API group '
        f'"{wanted.group}" {where}'
    )
