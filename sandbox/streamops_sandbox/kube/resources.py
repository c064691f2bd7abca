"""What the API server serves: resource types by group, version and plural name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from streamops_sandbox.kube.errors import qualified
from streamops_sandbox.kube.schema import Schema

Convert = Callable[[dict[str, Any]], dict[str, Any]]
ALL_VERBS = (
    "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch",
)  # fmt: skip


@dataclass(slots=True)
class Resource:
    """One resource type in one version.

    `collection` names the storage that all versions of the type share (`deployments.apps`);
    `storage_version` is the apiVersion its objects are kept in.
    """

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    load_schema: Callable[[], Schema]
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[str, ...] = ()
    list_kind: str = ""
    storage_version: str = ""
    custom: bool = False
    selectable_fields: tuple[str, ...] = ()
    #: The definition's `additionalPrinterColumns`.
    columns: tuple[dict[str, Any], ...] = ()
    scale_paths: dict[str, str] | None = None
    definition: str = ""
    conversion: dict[str, Any] | None = None
    openapi: dict[str, Any] | None = None
    #: The schema of the version that custom objects are stored in.
    storage_schema: Callable[[], Schema] | None = None
    #: The collection, where it is another type's; and how objects come from and get into its version.
    shared_collection: str = ""
    from_storage: Convert | None = None
    to_storage: Convert | None = None
    #: What writers and readers of a deprecated type are warned with.
    deprecation: str = ""
    #: Whether writes are refused, since nothing acts on the objects.
    unmodelled: bool = False
    _schema: Schema | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.singular = self.singular or self.kind.lower()
        self.list_kind = self.list_kind or f"{self.kind}List"
        self.storage_version = self.storage_version or self.api_version

    @property
    def api_version(self) -> str:
        """`v1`, `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def collection(self) -> str:
        """The name of the storage, and of the type in messages: `deployments.apps`."""
        return self.shared_collection or qualified(self.plural, self.group)

    @property
    def schema(self) -> Schema:
        """The object's schema, compiled at first use."""
        if self._schema is None:
            self._schema = self.load_schema()
        return self._schema

    @property
    def has_status(self) -> bool:
        """Whether status is written through its own subresource."""
        return "status" in self.subresources


class Registry:
    """All resource types being served; custom ones come and go."""

    def __init__(self, resources: Iterable[Resource] = ()) -> None:
        self._types: dict[tuple[str, str], dict[str, Resource]] = {}
        self.generation = 0
        for resource in resources:
            self.add(resource)

    def add(self, resource: Resource) -> None:
        """Serve a type; replaces one of the same group, version and plural name."""
        key = (resource.group, resource.version)
        self._types.setdefault(key, {})[resource.plural] = resource
        self.generation += 1

    def remove(self, group: str, plural: str) -> None:
        """Stop serving all versions of a type."""
        for key in [key for key in self._types if key[0] == group]:
            self._types[key].pop(plural, None)
            if not self._types[key]:
                del self._types[key]
        self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The type at a path, or None."""
        return self._types.get((group, version), {}).get(plural)

    def has_version(self, group: str, version: str) -> bool:
        """Whether anything is served under a group and version."""
        return (group, version) in self._types

    def __contains__(self, group: str) -> bool:
        return any(key[0] == group for key in self._types)

    def versions_of(self, group: str, plural: str) -> list[Resource]:
        """All served versions of a type."""
        return [
            types[plural]
            for key, types in self._types.items()
            if key[0] == group and plural in types
        ]

    def in_version(self, group: str, version: str) -> list[Resource]:
        """All types of one group and version, by name."""
        types = self._types.get((group, version), {})
        return [types[plural] for plural in sorted(types)]

    def group_versions(self) -> dict[str, list[str]]:
        """Group → its versions, the preferred one first."""
        found: dict[str, list[str]] = {}
        for group, version in self._types:
            found.setdefault(group, []).append(version)
        return {group: sorted(versions, key=version_rank) for group, versions in found.items()}

    def __iter__(self) -> Iterator[Resource]:
        for types in list(self._types.values()):
            yield from list(types.values())


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sort key: GA before beta before alpha, newer first (k8s.io/apimachinery/pkg/version)."""
    rest = version.removeprefix("v")
    for rank, word in enumerate(("", "beta", "alpha")):
        major, _, minor = rest.partition(word) if word else (rest, "", "0")
        if major.isdigit() and minor.isdigit():
            return (rank, -int(major), -int(minor), "")
    return (3, 0, 0, version)
