"""Who may do what: role-based access control.

https://kubernetes.io/docs/reference/access-authn-authz/rbac/
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.authn import MASTERS, User
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


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and by which binding."""

    allowed: bool
    reason: str = ""


class Authorizer:
    """Decides by the roles and bindings in storage; remembers until these change."""

    def __init__(self, api: Api) -> None:
        self._collections = [
            api.store.collection(name)
            for name in (ROLES, CLUSTER_ROLES, BINDINGS, CLUSTER_BINDINGS)
        ]
        self._api = api
        self._seen = -1
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], Decision] = {}
        self._loaded: dict[tuple[str, str, str], Object] = {}

    def decide(self, user: User, wanted: Attributes) -> Decision:
        """Whether a user may do something."""
        if MASTERS in user.groups:
            return Decision(True)
        latest = max(collection.latest for collection in self._collections)
        if latest != self._seen or len(self._decisions) > _MAX_REMEMBERED:
            self._seen = latest
            self._decisions.clear()
            self._loaded.clear()
        key = (user.name, user.groups, wanted)
        found = self._decisions.get(key)
        if found is None:
            found = self._decisions[key] = self._decide(user, wanted)
        return found

    def _decide(self, user: User, wanted: Attributes) -> Decision:
        for rule, source in self.rules(user, wanted.namespace):
            if rule_allows(rule, wanted):
                return Decision(True, source)
        return Decision(False)

    def rules(self, user: User, namespace: str) -> Iterator[tuple[Object, str]]:
        """All rules that hold for a user in a namespace ("" for the cluster), with their source."""
        for binding in self._items(CLUSTER_BINDINGS, ""):
            subject = _subject(user, binding, "")
            if subject:
                yield from self._role_rules(binding, "ClusterRoleBinding", subject)
        if not namespace:
            return
        for binding in self._items(BINDINGS, namespace):
            subject = _subject(user, binding, namespace)
            if subject:
                yield from self._role_rules(binding, "RoleBinding", subject)

    def _items(self, collection: str, namespace: str) -> Iterator[Object]:
        for stored in self._api.store.collection(collection).items(namespace):
            key = (collection, stored.namespace, stored.name)
            found = self._loaded.get(key)
            if found is None:
                found = self._loaded[key] = stored.load()
            yield found

    def _role_rules(self, binding: Object, kind: str, subject: str) -> Iterator[tuple[Object, str]]:
        reference = binding["roleRef"]
        metadata = binding["metadata"]
        space = metadata.get("namespace", "")
        role_space = space if reference["kind"] == "Role" else ""
        collection = ROLES if reference["kind"] == "Role" else CLUSTER_ROLES
        key = (collection, role_space, reference["name"])
        role = self._loaded.get(key)
        if role is None:
            stored = self._api.get(*key)
            if stored is None:
                return
            role = self._loaded[key] = stored.load()
        name = f"{metadata['name']}/{space}" if space else metadata["name"]
        source = f'RBAC: allowed by {kind} "{name}" of {reference["kind"]} "{reference["name"]}" to {subject}'
        for rule in role.get("rules") or []:
            yield rule, source


def _subject(user: User, binding: Object, namespace: str) -> str:
    """Return which of a binding's subjects a user is, in words; empty for none."""
    for subject in binding.get("subjects") or []:
        if _is_subject(user, subject, namespace):
            space = subject.get("namespace") if subject["kind"] == "ServiceAccount" else ""
            return f'{subject["kind"]} "{subject["name"]}{"/" * bool(space)}{space or ""}"'
    return ""


def _is_subject(user: User, subject: Object, namespace: str) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        return bool(subject["name"] == user.name)
    if kind == "Group":
        return subject["name"] in user.groups
    if kind == "ServiceAccount":
        space = subject.get("namespace") or namespace
        return user.name == f"system:serviceaccount:{space}:{subject['name']}"
    return False


def rule_allows(rule: Object, wanted: Attributes) -> bool:
    """Whether one `PolicyRule` covers an action."""
    verbs = rule.get("verbs") or []
    if "*" not in verbs and wanted.verb not in verbs:
        return False
    if wanted.path:
        return any(_path_matches(p, wanted.path) for p in rule.get("nonResourceURLs") or [])
    groups = rule.get("apiGroups") or []
    if "*" not in groups and wanted.group not in groups:
        return False
    if not _resource_listed(rule.get("resources") or [], wanted):
        return False
    names = rule.get("resourceNames") or []
    return not names or wanted.name in names


def _resource_listed(resources: list[str], wanted: Attributes) -> bool:
    if "*" in resources or wanted.resource in resources:
        return True
    return bool(wanted.subresource) and f"*/{wanted.subresource}" in resources


def _path_matches(pattern: str, path: str) -> bool:
    if pattern.endswith("*"):
        return path.startswith(pattern[:-1])
    return path == pattern


def refusal(user: User, wanted: Attributes) -> str:
    """Why not, as the API server words it."""
    if wanted.path:
        return f'User "{user.name}" cannot {wanted.verb} path "{wanted.path}"'
    where = f'in the namespace "{wanted.namespace}"' if wanted.namespace else "at the cluster scope"
    return (
        f'User "{user.name}" cannot {wanted.verb} resource "{wanted.resource}" in API group '
        f'"{wanted.group}" {where}'
    )
