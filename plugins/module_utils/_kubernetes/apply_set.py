"""Remembers in the cluster what a bundle consists of, so that a later run can prune the rest.

Follows the ApplySet specification (KEP-3659,
https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune): a parent
object names the kinds and namespaces, each member carries a label with the set's id.

A set may have a scope, the name of its owner, which the parent and the members carry as a label too. Sets
that take the place of one in another namespace, or of one without a scope, name it as a predecessor until
they have taken over its members.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable
from typing import Any

from .apply import PART_OF, Applier, Bundle, Item, Key
from .client import FORBIDDEN, Client, Resource, permitted
from .delete import live_item
from .errors import ApiError
from .manifests import Refused

Object = dict[str, Any]
PREFIX = "applyset.kubernetes.io"
ID = f"{PREFIX}/id"
TOOLING = f"{PREFIX}/tooling"
KINDS = f"{PREFIX}/contains-group-kinds"
NAMESPACES = f"{PREFIX}/additional-namespaces"
TOOL = "streamops.knative/v1"
SCOPE = "streamops.knative/scope"
PREDECESSORS = "streamops.knative/predecessors"
#: Where sets were kept before they had a scope.
UNSCOPED_NAMESPACE = "default"
OURS = (TOOLING, KINDS, NAMESPACES, PREDECESSORS)


class ApplySet:
    """The set whose parent is the ConfigMap `name` in `namespace`.

    `candidates` are namespaces in which a set of this scope may have been before, for those who may not look in all.
    Raises Refused where the ConfigMap is another scope's, or something else.
    """

    def __init__(
        self,
        client: Client,
        applier: Applier,
        name: str,
        namespace: str,
        manager: str,
        scope: str = "",
        candidates: Iterable[str] = (),
    ) -> None:
        self._client = client
        self._applier = applier
        self._manager = manager
        self._name = name
        self.namespace = namespace
        self.scope = scope
        self.id = _identity(name, namespace)
        self._resource = client.resource("v1", "ConfigMap")
        self.parent = client.get(self._resource, name, namespace)
        self._check_parent()
        self.predecessors = self._find_predecessors(set(candidates)) if scope else []

    def _check_parent(self) -> None:
        if self.parent is None:
            return
        if not _is_set(self.parent):
            tool = (self.parent["metadata"].get("annotations") or {}).get(TOOLING, "nobody known")
            raise Refused(
                [
                    f"apply_set: ConfigMap {self.namespace}/{self._name} exists and is not a set of"
                    f" this module (it belongs to {tool}): choose another name"
                ]
            )
        owner = owner_of(self.parent)
        if owner not in ("", self.scope):
            raise Refused(
                [
                    f"apply_set: {self.namespace}/{self._name} belongs to the scope '{owner}', not to"
                    f" '{self.scope}': choose another namespace, or, where both are the same"
                    " owner's, that scope"
                ]
            )

    # -- predecessors ------------------------------------------------------------------------

    def _find_predecessors(self, candidates: set[str]) -> list[Object]:
        """Return the parents of the sets whose members this one takes over."""
        if self.parent is not None:
            annotations = self.parent["metadata"].get("annotations") or {}
            named = [name for name in annotations.get(PREDECESSORS, "").split(",") if name]
            found = [self._parent_in(name) for name in named]
        else:
            found = [*self._of_scope(candidates), self._unscoped()]
        return [parent for parent in found if parent]

    def _of_scope(self, candidates: set[str]) -> list[Object]:
        try:
            listed = self._client.list(self._resource, label_selector=f"{ID},{SCOPE}={self.scope}")
        except ApiError as error:
            if error.status != FORBIDDEN:
                raise
            others = sorted(candidates - {self.namespace})
            listed = [parent for name in others if (parent := self._parent_in(name))]
        return [
            parent
            for parent in listed
            if parent["metadata"]["name"] == self._name
            and parent["metadata"]["namespace"] != self.namespace
            and _is_set(parent)
            and owner_of(parent) == self.scope
        ]

    def _unscoped(self) -> Object | None:
        """Return the set of an earlier version, where it has objects in this set's namespace."""
        if self.namespace == UNSCOPED_NAMESPACE:
            return None
        parent = self._parent_in(UNSCOPED_NAMESPACE)
        ours = parent and _is_set(parent) and not owner_of(parent)
        return parent if parent and ours and self.namespace in _contents(parent)[1] else None

    def _parent_in(self, namespace: str) -> Object | None:
        return permitted(lambda: self._client.get(self._resource, self._name, namespace), None)

    @property
    def _ids(self) -> set[str]:
        return {self.id, *(_identity_of(parent) for parent in self.predecessors)}

    @property
    def parents(self) -> set[Key]:
        """Keys of the ConfigMaps that are only there for this set."""
        spaces = {self.namespace, *(p["metadata"]["namespace"] for p in self.predecessors)}
        return {("", "ConfigMap", space, self._name) for space in spaces}

    def retire(self, remaining: Iterable[Item]) -> None:
        """Delete the parents of predecessors that have no members left among `remaining`."""
        inherited = {_identity_of(parent) for parent in self.predecessors}
        if not inherited or inherited & {_membership(item.before) for item in remaining}:
            return
        self._delete_predecessors()
        self._record(*self._recorded())

    def _delete_predecessors(self) -> None:
        for parent in self.predecessors:
            self._client.delete(self._resource, self._name, parent["metadata"]["namespace"])
        self.predecessors = []

    # -- members -----------------------------------------------------------------------------

    def label(self, bundle: Bundle) -> None:
        """Make every object of the bundle a member."""
        for item in bundle.items:
            metadata = item.definition["metadata"]
            metadata["labels"] = {**(metadata.get("labels") or {}), PART_OF: self.id}
            if self.scope:
                metadata["labels"][SCOPE] = self.scope

    def check(self, bundle: Bundle) -> None:
        """Refuse objects of another scope or set: two sets would prune each other's."""
        foreign = []
        for item in bundle.items:
            owner, other = owner_of(item.before), _membership(item.before)
            if owner not in ("", self.scope):
                foreign.append(
                    f"{item.origin}: {item.title} belongs to the scope '{owner}', not to"
                    f" '{self.scope}': choose another name or namespace"
                )
            elif other and other not in self._ids:
                foreign.append(
                    f"{item.origin}: {item.title} belongs to the apply set {other}: prune it there, or"
                    " remove its label there, before it is applied here"
                )
        if foreign:
            raise Refused(foreign)

    def members(
        self, preferred: Iterable[Item] = (), only: Collection[str] | None = None
    ) -> list[Item]:
        """Return everything in the cluster that an earlier run made a member.

        One request a kind; where listing all namespaces is not allowed, one a kind and namespace.
        `preferred` items say in which version of the API their kinds are to be read. `only` limits
        the kinds, "Deployment.apps".
        """
        kinds, namespaces = self._recorded()
        if only is not None:
            kinds &= set(only)
        versions = {(item.resource.group, item.resource.kind): item.resource for item in preferred}
        resources = [self._served(kind, versions) for kind in sorted(kinds)]

        def look(resource: Resource) -> list[Item]:
            try:
                listed = self._list(resource, None)
            except ApiError as error:
                if error.status != FORBIDDEN or not resource.namespaced:
                    raise
                listed = [obj for name in sorted(namespaces) for obj in self._list(resource, name)]
            return [live_item(resource, obj, f"apply set {self._name}") for obj in listed]

        found = self._applier.parallel(look, [resource for resource in resources if resource])
        return [item for items in found for item in items]

    def _list(self, resource: Resource, namespace: str | None) -> list[Object]:
        ids = ",".join(sorted(self._ids))
        selector = f"{PART_OF}={self.id}" if ids == self.id else f"{PART_OF} in ({ids})"
        listed = self._client.list(resource, namespace, label_selector=selector)
        # Controllers hand labels on to what they make: that is theirs, and goes with its owner.
        return [obj for obj in listed if not _is_controlled(obj)]

    def _served(
        self, group_kind: str, versions: dict[tuple[str, str], Resource]
    ) -> Resource | None:
        kind, _dot, group = group_kind.partition(".")
        if (group, kind) in versions:
            preferred = versions[group, kind]
            served = (preferred.api_version, kind) in self._client.resources()
            return preferred if served else None
        for resource in self._client.resources().values():
            if (resource.group, resource.kind) == (group, kind):
                return resource
        return None  # its definition is gone, and its objects with it

    def _recorded(self) -> tuple[set[str], set[str]]:
        """Return the kinds and namespaces of this set and its predecessors."""
        kinds: set[str] = set()
        namespaces = {self.namespace}
        for parent in [self.parent, *self.predecessors]:
            if parent:
                more_kinds, more_namespaces = _contents(parent)
                kinds |= more_kinds
                namespaces |= more_namespaces
        return kinds, namespaces

    def announce(self, bundle: Bundle) -> None:
        """Have the parent cover the old members and the new, before writing."""
        kinds, namespaces = self._recorded()
        new_kinds, new_namespaces = scope(bundle.items)
        self._record(kinds | new_kinds, namespaces | new_namespaces)

    def settle(self, bundle: Bundle) -> None:
        """Have the parent cover this bundle exactly, after pruning."""
        self._record(*scope(bundle.items))

    def _record(self, kinds: set[str], namespaces: set[str]) -> None:
        annotations = {
            TOOLING: TOOL,
            KINDS: ",".join(sorted(kinds)),
            NAMESPACES: ",".join(sorted(namespaces - {self.namespace})),
        }
        if self.predecessors:
            names = {str(parent["metadata"]["namespace"]) for parent in self.predecessors}
            annotations[PREDECESSORS] = ",".join(sorted(names))
        labels = {ID: self.id} | ({SCOPE: self.scope} if self.scope else {})
        if self.parent:
            metadata = self.parent["metadata"]
            kept = {name: text for name, text in metadata["annotations"].items() if name in OURS}
            if annotations == kept and labels.items() <= metadata["labels"].items():
                return
        self.parent = self._client.apply(
            self._resource,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": self._name,
                    "namespace": self.namespace,
                    "labels": labels,
                    "annotations": annotations,
                },
            },
            field_manager=self._manager,
        )

    def remove(self) -> None:
        """Delete the parent of an empty set, with those of its predecessors."""
        if self.parent is not None:
            self._client.delete(self._resource, self._name, self.namespace)
        self._delete_predecessors()


def scope(items: Iterable[Item]) -> tuple[set[str], set[str]]:
    """("Deployment.apps", …) and namespaces of some items."""
    items = list(items)
    kinds = {f"{item.resource.kind}.{item.resource.group}".rstrip(".") for item in items}
    return kinds, {item.namespace for item in items if item.namespace}


def _membership(obj: Object | None) -> str:
    labels = (obj or {}).get("metadata", {}).get("labels") or {}
    return str(labels.get(PART_OF, ""))


def owner_of(obj: Object | None) -> str:
    """Return the scope that an object carries, or an empty text."""
    return str(((obj or {}).get("metadata", {}).get("labels") or {}).get(SCOPE, ""))


def _is_controlled(obj: Object) -> bool:
    references = obj["metadata"].get("ownerReferences") or []
    return any(reference.get("controller") for reference in references)


def _identity(name: str, namespace: str) -> str:
    # Names and order are the specification's: name.namespace.kind.group.
    digest = hashlib.sha256(f"{name}.{namespace}.ConfigMap.".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def _identity_of(parent: Object) -> str:
    return _identity(parent["metadata"]["name"], parent["metadata"]["namespace"])


def _is_set(parent: Object) -> bool:
    """Return whether a ConfigMap is the parent of a set of this module."""
    metadata = parent["metadata"]
    tool = (metadata.get("annotations") or {}).get(TOOLING, "")
    given = (metadata.get("labels") or {}).get(ID)
    return given == _identity_of(parent) and tool.partition("/")[0] == TOOL.partition("/")[0]


def _contents(parent: Object) -> tuple[set[str], set[str]]:
    """Return the kinds and namespaces that a parent names, its own namespace included."""
    annotations = parent["metadata"].get("annotations") or {}
    kinds = {kind for kind in annotations.get(KINDS, "").split(",") if kind}
    names = {name for name in annotations.get(NAMESPACES, "").split(",") if name}
    return kinds, names | {parent["metadata"]["namespace"]}
