"""Remembers in the cluster what a bundle consists of, so that a later run can prune the rest.

Follows the ApplySet specification (KEP-3659,
https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune): a parent
object names the kinds and namespaces, each member carries a label with the set's id.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.apply import (
    Applier,
    Bundle,
    Item,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import (
    Client,
    Resource,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.delete import live_item
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import ApiError
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import Refused

Object = dict[str, Any]
PREFIX = "applyset.kubernetes.io"
ID, PART_OF = f"{PREFIX}/id", f"{PREFIX}/part-of"
TOOLING = f"{PREFIX}/tooling"
KINDS = f"{PREFIX}/contains-group-kinds"
NAMESPACES = f"{PREFIX}/additional-namespaces"
TOOL = "streamops.knative/v1"


class ApplySet:
    """The set whose parent is the ConfigMap `name` in `namespace`."""

    def __init__(
        self, client: Client, applier: Applier, name: str, namespace: str, manager: str
    ) -> None:
        self._client = client
        self._applier = applier
        self._manager = manager
        self._name = name
        self._namespace = namespace
        # Names and order are the specification's: name.namespace.kind.group.
        identity = hashlib.sha256(f"{name}.{namespace}.ConfigMap.".encode()).digest()
        text = base64.urlsafe_b64encode(identity).decode().rstrip("=")
        self.id = f"applyset-{text}-v1"
        self._resource = client.resource("v1", "ConfigMap")
        self.parent = client.get(self._resource, name, namespace)
        self._check_parent()

    def _check_parent(self) -> None:
        if self.parent is None:
            return
        metadata = self.parent["metadata"]
        found = (metadata.get("labels") or {}).get(ID)
        tool = (metadata.get("annotations") or {}).get(TOOLING, "nobody known")
        if found != self.id or tool.partition("/")[0] != TOOL.partition("/")[0]:
            raise Refused(
                [
                    f"apply_set: ConfigMap {self._namespace}/{self._name} exists and is not a set of"
                    f" this module (it belongs to {tool}): choose another name"
                ]
            )

    def label(self, bundle: Bundle) -> None:
        """Make every object of the bundle a member."""
        for item in bundle.items:
            metadata = item.definition["metadata"]
            metadata["labels"] = {**(metadata.get("labels") or {}), PART_OF: self.id}

    def check(self, bundle: Bundle) -> None:
        """Refuse objects that are members of another set: two sets would prune each other's."""
        foreign = [
            f"{item.origin}: {item.title} belongs to the apply set {other}: prune it there, or"
            " remove its label there, before it is applied here"
            for item in bundle.items
            if (other := _membership(item.before)) not in ("", self.id)
        ]
        if foreign:
            raise Refused(foreign)

    def members(self, preferred: Iterable[Item] = ()) -> list[Item]:
        """Everything in the cluster that an earlier run made a member.

        One request a kind; where listing all namespaces is not allowed, one a kind and namespace.
        `preferred` items say in which version of the API their kinds are to be read.
        """
        kinds, namespaces = self._recorded()
        versions = {(item.resource.group, item.resource.kind): item.resource for item in preferred}
        resources = [self._served(kind, versions) for kind in sorted(kinds)]

        def look(resource: Resource) -> list[Item]:
            try:
                listed = self._list(resource, None)
            except ApiError as error:
                if error.status != 403 or not resource.namespaced:
                    raise
                listed = [obj for name in sorted(namespaces) for obj in self._list(resource, name)]
            return [live_item(resource, obj, f"apply set {self._name}") for obj in listed]

        found = self._applier.parallel(look, [resource for resource in resources if resource])
        return [item for items in found for item in items]

    def _list(self, resource: Resource, namespace: str | None) -> list[Object]:
        return self._client.list(resource, namespace, label_selector=f"{PART_OF}={self.id}")

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
        annotations = (self.parent or {}).get("metadata", {}).get("annotations") or {}
        kinds = {kind for kind in annotations.get(KINDS, "").split(",") if kind}
        names = {name for name in annotations.get(NAMESPACES, "").split(",") if name}
        return kinds, names | {self._namespace}

    def announce(self, bundle: Bundle) -> None:
        """Before writing: the parent covers the old members and the new, whatever happens."""
        kinds, namespaces = self._recorded()
        new_kinds, new_namespaces = scope(bundle.items)
        self._record(kinds | new_kinds, namespaces | new_namespaces)

    def settle(self, bundle: Bundle) -> None:
        """After pruning: the parent covers this bundle exactly."""
        self._record(*scope(bundle.items))

    def _record(self, kinds: set[str], namespaces: set[str]) -> None:
        annotations = {
            TOOLING: TOOL,
            KINDS: ",".join(sorted(kinds)),
            NAMESPACES: ",".join(sorted(namespaces - {self._namespace})),
        }
        if self.parent and annotations.items() <= self.parent["metadata"]["annotations"].items():
            return
        self.parent = self._client.apply(
            self._resource,
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": self._name,
                    "namespace": self._namespace,
                    "labels": {ID: self.id},
                    "annotations": annotations,
                },
            },
            field_manager=self._manager,
        )

    def remove(self) -> None:
        """The set is empty: its parent goes."""
        if self.parent is not None:
            self._client.delete(self._resource, self._name, self._namespace)


def scope(items: Iterable[Item]) -> tuple[set[str], set[str]]:
    """("Deployment.apps", …) and namespaces of some items."""
    items = list(items)
    kinds = {f"{item.resource.kind}.{item.resource.group}".rstrip(".") for item in items}
    return kinds, {item.namespace for item in items if item.namespace}


def _membership(obj: Object | None) -> str:
    labels = (obj or {}).get("metadata", {}).get("labels") or {}
    return str(labels.get(PART_OF, ""))
